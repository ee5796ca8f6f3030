"""Train a student: resumable to the step, same result as if never stopped."""
from __future__ import annotations

from collections.abc import Iterator
import csv
from dataclasses import asdict, dataclass
import json
import math
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from rgbt_tracker_ros.data.samples import Samples
from rgbt_tracker_ros.distillation.losses import task_loss
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.convnet import channels_last
from rgbt_tracker_ros.models.student import Student, StudentConfig, Template, box_mask


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to train. `bf16` computes in bfloat16 where the CPU or GPU can."""

    steps: int = 7000
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up: int = 200
    clip: float = 2.0
    ema: float = 0.998
    seed: int = 0
    workers: int = 1
    save_every: int = 200
    bf16: bool = True


class _Order(Sampler[int]):
    """Samples in order from the first that was not yet used."""

    def __init__(self, start: int, count: int) -> None:
        self.start, self.count = start, count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.count))

    def __len__(self) -> int:
        return self.count - self.start


def rate_at(step: int, config: TrainConfig) -> float:
    """Learning rate: linear warm-up, then a cosine to a hundredth."""
    if step < config.warm_up:
        return config.rate * (step + 1) / config.warm_up
    t = (step - config.warm_up) / max(config.steps - config.warm_up, 1)
    return config.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * t)))


def encode(student: Student, batch: dict[str, Tensor]) -> Template:
    """Encode the templates of a batch."""
    c = student.config
    masks = torch.cat([box_mask(tuple(b.tolist()), c.template_size, c.stride)
                       for b in batch['template_box'].cpu()])
    return student.encode_template(batch['template_rgb'], batch['template_thermal'],
                                   batch['template_present'],
                                   masks.to(batch['template_rgb'].device))


class Training:
    """A student, its moving average, its optimiser, and the step they have come to."""

    def __init__(self, config: TrainConfig, out: Path, device: str = 'cpu',
                 sizes: StudentConfig | None = None) -> None:
        self.config, self.out, self.device = config, out, torch.device(device)
        torch.manual_seed(config.seed)
        self.student = Student(sizes).to(self.device)
        channels_last(self.student)
        self.average = Student(sizes).to(self.device)
        self.average.load_state_dict(self.student.state_dict())
        decay = [p for p in self.student.parameters() if p.ndim > 1]
        rest = [p for p in self.student.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{'params': decay, 'weight_decay': config.weight_decay},
             {'params': rest, 'weight_decay': 0.0}], lr=config.rate)
        self.step = 0
        self.resume_file = out / 'resume.pt'

    def resume(self) -> bool:
        """Take up where the last run in this folder stopped; False where there is none.

        :raises ValueError: if that run had another configuration, or its file is damaged.
        """
        if not self.resume_file.exists():
            return False
        try:
            state = torch.load(self.resume_file, map_location=self.device, weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
            raise ValueError(f"{self.resume_file} can't be read ({_first_line(error)}); "
                             'delete it to start again') from error
        ours = asdict(self.config) | {'workers': 0}
        if json.loads(state['config']) != ours:
            raise ValueError(f'{self.resume_file} was trained with {state["config"]}, not with '
                             f'{json.dumps(ours)}; choose another --out, or the same options')
        try:
            self.student.load_state_dict(state['student'])
        except RuntimeError as error:
            raise ValueError(f'{self.resume_file} holds a student of other sizes; choose another '
                             '--out, or the same recipe') from error
        self.average.load_state_dict(state['average'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.step = int(state['step'])
        return True

    def save(self) -> None:
        """Keep everything that the next step depends on; a kill leaves the old or the new file.

        :raises OSError: if it can't be written; the old file is then still there.
        """
        part = self.resume_file.with_suffix('.part')
        try:
            torch.save({'student': self.student.state_dict(), 'average': self.average.state_dict(),
                        'optimizer': self.optimizer.state_dict(), 'step': self.step,
                        'config': json.dumps(asdict(self.config) | {'workers': 0})}, part)
            part.replace(self.resume_file)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(f"{part} can't be written; is the disk full? "
                          f'({_first_line(error)})') from error
        finally:
            part.unlink(missing_ok=True)

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One step of gradient descent; returns the losses."""
        for group in self.optimizer.param_groups:
            group['lr'] = rate_at(self.step, self.config)
        self.student.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            template = encode(self.student, batch)
            out = self.student(template, batch['search_rgb'], batch['search_thermal'],
                               batch['search_present'])
        losses = task_loss(out.logits, out.boxes, batch['search_box'], batch['visible'],
                           self.student.config.stride)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses['loss'])
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return {k: float(v.detach()) for k, v in losses.items()} | {'norm': float(norm)}

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        ours = self.average.state_dict()
        for name, value in self.student.state_dict().items():
            if value.is_floating_point():
                ours[name].lerp_(value, 1 - keep)
            else:
                ours[name].copy_(value)

    def run(self, samples: Samples, until: int | None = None) -> None:
        """Train to the end (or to step `until`), with a log, checkpoints and a progress bar.

        :raises ValueError: if the loss is not finite any more; the last checkpoint is from before.
        :raises OSError: if a checkpoint or the log can't be written.
        """
        c = self.config
        until = min(until or c.steps, c.steps)
        self.out.mkdir(parents=True, exist_ok=True)
        loader = DataLoader(samples, c.batch, sampler=_Order(self.step * c.batch, until * c.batch),
                            num_workers=c.workers, worker_init_fn=_one_thread, drop_last=True,
                            prefetch_factor=6 if c.workers else None)
        log = self.out / 'log.csv'
        _cut_log(log, self.step)
        bar = tqdm(total=c.steps, initial=self.step, desc='training', unit='step')
        smooth = 0.0
        with log.open('a', newline='') as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(['step', 'loss', 'score', 'box', 'norm', 'rate'])
            try:
                for batch in loader:
                    batch = {k: v.to(self.device) for k, v in batch.items()}
                    losses = self.train_step(batch)
                    if not all(map(math.isfinite, losses.values())):
                        raise ValueError(f'the training diverged in step {self.step}: {losses}; '
                                         'try a lower rate')
                    smooth = losses['loss'] if not smooth else \
                        0.98 * smooth + 0.02 * losses['loss']
                    writer.writerow([self.step, *(f'{losses[k]:.5g}' for k in
                                     ('loss', 'score', 'box', 'norm')),
                                     f'{rate_at(self.step, c):.4g}'])
                    bar.update()
                    bar.set_postfix(loss=f'{smooth:.3f}', refresh=False)
                    if self.step % c.save_every == 0:
                        file.flush()
                        self.save()
                        checkpoint.save(self.average, self.out / 'student.safetensors',
                                        step=self.step)
            finally:
                bar.close()
        self.save()
        checkpoint.save(self.average, self.out / 'student.safetensors', step=self.step)


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]


def _cut_log(log: Path, step: int) -> None:
    """Leave the rows up to `step` alone: a run that was killed has logged more than it saved."""
    if not log.exists():
        return
    header, *rows = log.read_text().splitlines(keepends=True) or ['']
    # the last row may be torn
    kept = [r for r in rows if r.endswith('\n') and int(r.split(',')[0]) <= step]
    if len(kept) < len(rows) or not header.endswith('\n'):
        part = log.with_suffix('.part')
        with part.open('w', newline='') as file:
            file.writelines([header, *kept] if header.endswith('\n') else [])
        part.replace(log)


def _one_thread(worker: int) -> None:
    import cv2
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
