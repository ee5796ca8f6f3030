"""Every loss that a recipe can name.

A loss is a function of tensors, or a module where it has weights of its own. Parameters
annotated `Tensor` are its inputs, the others (of the function, or of the module's constructor)
its options. It returns a scalar, or a dict with the scalar `loss` and parts that are logged.
"""
from __future__ import annotations

from collections.abc import Callable
import inspect
from typing import Any, NamedTuple

from torch import Tensor, nn

from rgbt_tracker_ros.distillation.losses import (
    dimp,
    mpsd,
    reliable,
    response,
    scfd,
    style_content,
    task,
)

Loss = Callable[..., 'Tensor | dict[str, Tensor]']

LOSSES: dict[str, Loss | type[nn.Module]] = {
    'task': task.task,
    'dense_task': task.dense_task,
    'style': style_content.style,
    'content': style_content.content,
    'score_mse': response.score_mse,
    'score_kl': response.score_kl,
    'map_mse': response.map_mse,
    'map_l1': response.map_l1,
    'box_maps': response.box_maps,
    'hard_focused': response.hard_focused,
    'dense_response': response.dense_response,
    'dense_boxes': response.dense_boxes,
    'reliable_response': reliable.reliable_response,
    'features': response.Features,
    'scfd': scfd.Scfd,
    'mpsd': mpsd.Mpsd,
    'hinge_mse': dimp.hinge_mse,
    'boxes_kl': dimp.boxes_kl,
}


class Signature(NamedTuple):
    """What a loss takes: names of its `inputs`, those that it can't do without, its `options`
    with their defaults.
    """

    inputs: tuple[str, ...]
    required: tuple[str, ...]
    options: dict[str, Any]


def signature(name: str) -> Signature:
    """Return what the loss `name` takes."""
    loss = LOSSES[name]
    is_module = isinstance(loss, type)
    called: Any = loss
    call = inspect.signature(called.forward if is_module else called).parameters
    tensors = {k: p for k, p in call.items() if 'Tensor' in str(p.annotation)}
    given = inspect.signature(loss).parameters if is_module else \
        {k: p for k, p in call.items() if k not in tensors}
    return Signature(tuple(tensors),
                     tuple(k for k, p in tensors.items() if p.default is p.empty),
                     {k: p.default for k, p in given.items()})


def bind(name: str, options: dict[str, Any]) -> Loss:
    """Return the loss as something to call with its inputs; a new module where it has weights.

    :raises ValueError: an option of a value that it can't take.
    """
    loss = LOSSES[name]
    if isinstance(loss, type):
        return loss(**options)
    return _Bound(loss, options)


class _Bound:
    """A function with its options."""

    def __init__(self, loss: Loss, options: dict[str, Any]) -> None:
        self.loss, self.options = loss, options

    def __call__(self, **inputs: Tensor) -> Tensor | dict[str, Tensor]:
        return self.loss(**inputs, **self.options)
