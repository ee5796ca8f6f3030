"""What a training tells while it runs: a CSV file, TensorBoard, a progress bar."""
from __future__ import annotations

import csv
import math
from pathlib import Path
import sys
from typing import Any

from tqdm import tqdm

from rgbt_tracker_ros.distillation.plots import plot_losses
from rgbt_tracker_ros.distillation.resume import naming


class TrainLog:
    """Log of one stage: FOLDER/log.csv, always; TensorBoard events beside it if asked.

    Only the first process of several writes.
    """

    def __init__(self, folder: Path, name: str, step: int, steps: int, *, writes: bool = True,
                 tensorboard: bool = False) -> None:
        """Open the log of a stage that goes on after `step`.

        :raises OSError: if it can't be written.
        :raises ValueError: TensorBoard was asked for and is not installed.
        """
        self.writes = writes
        # in a file a line now and then will do
        self._bar = tqdm(total=steps, initial=step, desc=name, unit='step', disable=not writes,
                         mininterval=0.1 if sys.stderr.isatty() else 30.0)
        self._smooth = 0.0
        self._events: Any = None
        if not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / 'log.csv'
        cut(self.path, step)
        self._columns = _header(self.path)
        self._file = self.path.open('a', newline='')
        self._csv = csv.writer(self._file)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ValueError('TensorBoard is not installed; pip install '
                                 'tensorboard, or leave out --log') from error
            self._events = SummaryWriter(str(folder), purge_step=step)

    def row(self, step: int, values: dict[str, float]) -> None:
        """Log a step's values. The first row of a stage has all names; what is over is missing in
        later ones, and NaN in the file.
        """
        if not self.writes:
            return
        if not self._columns:
            self._columns = ['step', *values]
            self._csv.writerow(self._columns)
        self._csv.writerow([step, *(f'{values.get(k, math.nan):.6g}' for k in self._columns[1:])])
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        self._smooth = values['loss'] if not self._smooth else \
            0.98 * self._smooth + 0.02 * values['loss']
        self._bar.set_postfix(loss=f'{self._smooth:.4g}', refresh=False)

    def advance(self) -> None:
        """Move the progress bar by a step."""
        self._bar.update()

    def flush(self) -> None:
        """Bring the log to the disk."""
        if self.writes:
            with naming(self.path):
                self._file.flush()

    def plot(self) -> None:
        """Draw the losses so far beside the log; say so where it can't be done."""
        if self.writes:
            self.flush()
            picture = self.path.with_name('losses.png')
            try:
                with naming(picture):
                    plot_losses(self.path, picture)
            except OSError as error:    # no reason to end a training
                tqdm.write(f'the losses are not drawn: {error}')

    def close(self) -> None:
        """End the log."""
        self._bar.close()
        if self.writes:
            with naming(self.path):
                self._file.close()
        if self._events is not None:
            self._events.close()


def _header(log: Path) -> list[str]:
    if not log.exists():
        return []
    with log.open(newline='') as file:
        return next(csv.reader(file), [])


def cut(log: Path, step: int) -> None:
    """Leave the rows up to `step` alone: a run that was killed has logged more than it saved."""
    if not log.exists():
        return
    header, *rows = log.read_text().splitlines(keepends=True) or ['']
    # the last row may be torn
    kept = [r for r in rows if r.endswith('\n') and int(r.split(',')[0]) <= step]
    if len(kept) < len(rows) or not header.endswith('\n') or not kept:
        part = log.with_suffix('.part')
        with part.open('w', newline='') as file:
            file.writelines([header, *kept] if kept and header.endswith('\n') else [])
        part.replace(log)
