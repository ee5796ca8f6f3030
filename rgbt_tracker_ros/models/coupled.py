"""CKD's training graph: two students that track together and two unimodal teachers beside them.

Coupled Knowledge Distillation (ACM MM 2024). The teachers are the unimodal trackers, trained at
the same time with heads of their own; nothing of them is left in the exported network.
"""
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from rgbt_tracker_ros.models import lockstep
from rgbt_tracker_ros.models.network import (
    MODALITIES,
    Batch,
    Network,
    NetworkConfig,
    Output,
    Taps,
)
from rgbt_tracker_ros.models.one_stream import OneStream, OneStreamConfig
from rgbt_tracker_ros.models.two_stream import Embedded, TwoStream, TwoStreamConfig
from rgbt_tracker_ros.models.vit import TransformerConfig


@dataclass(frozen=True)
class CoupledConfig(TwoStreamConfig):
    """Sizes of a Coupled: those of its students; the teachers have the same transformers."""

    mask_ratio: float = 0.25


class Coupled(Network):
    """A TwoStream of students and two unimodal OneStream teachers, run in lock-step.

    Students see masked search tokens (the same in both), teachers all of them. Where candidates
    are eliminated by one vote ('mce'), the students vote and the teachers follow, so that the
    tokens of all four stay comparable; with 'ce' every branch follows its own attention.

    Taps: those of the students' TwoStream; `blocks.{i}.rgb_teacher`,
    `blocks.{i}.thermal_teacher` (B, N, C); and for each teacher its own head's, such as
    `rgb_teacher.score`, `rgb_teacher.size`, `rgb_teacher.offset`, `rgb_teacher.fused`.

    Parameters: `student`, `rgb_teacher`, `thermal_teacher`.
    """

    Config: ClassVar[type[NetworkConfig]] = CoupledConfig
    config: CoupledConfig

    def __init__(self, config: CoupledConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or CoupledConfig()
        self.student = TwoStream(TwoStreamConfig(**_part(c, TwoStreamConfig)))
        sizes = _part(c, TransformerConfig) | {'elimination': 'off'}
        self.rgb_teacher = OneStream(OneStreamConfig(**sizes, fusion='rgb'))
        self.thermal_teacher = OneStream(OneStreamConfig(**sizes, fusion='thermal'))

    def taps(self, batch: Batch, *, seed: int = 0, means: bool = False) -> Taps:
        """Run the training pass; see the class for the names."""
        student = self.student
        teachers = [self.rgb_teacher, self.thermal_teacher]
        z, x, mask = student.embed(batch, seed)
        streams = student.streams(z, x)
        for number, stream in enumerate(streams):
            stream.gates = stream.vit.drop_gates(seed, batch['index'], number)
        streams += [t.stream(batch, seed, 2 + n) for n, t in enumerate(teachers)]
        prompt = student.prompter(z, x)
        lockstep.run(streams, prompt=None if prompt is None else
                     lambda layer, tokens: [*prompt(layer, tokens), None, None],
                     elimination=student.elimination, voters=2)
        taps = student.outputs(streams, mask, means)
        for name, teacher, stream in zip(MODALITIES, teachers, streams[2:], strict=True):
            for tap, value in teacher.outputs(stream).items():
                own = f'{tap}_teacher' if tap.startswith('blocks.') else f'{name}_teacher.{tap}'
                taps[own] = value
        return taps

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> Embedded:
        """Embed a template crop for the students."""
        return self.student.encode_template(rgb, thermal, present, box)

    def forward(self, template: Embedded, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the template in a search crop with the students."""
        return self.student(template, rgb, thermal, present)

    def tracking_network(self) -> TwoStream:
        """Return the students alone."""
        return self.student


def _part(config: CoupledConfig, of: type[NetworkConfig]) -> dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in fields(of)}
