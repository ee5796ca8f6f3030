"""Start residual networks from a checkpoint with torchvision's names (ImageNet weights)."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.public_files import PretrainedError
from rgbt_tracker_ros.models.resnet import ResNet

MARK = 'layer1.0.conv1.weight'
COUNTER = 'num_batches_tracked'


def fill_resnets(network: Network, state: Mapping[str, Tensor], name: str) -> None:
    """Copy a checkpoint's residual network into all those of a network, in place.

    :raises PretrainedError: see `fit_resnets`; nothing is copied then.
    """
    own = network.state_dict()
    with torch.no_grad():
        for key, source in fit_resnets(network, state, name).items():
            own[key].copy_(state[source])


def fit_resnets(network: Network, state: Mapping[str, Tensor], name: str) -> dict[str, str]:
    """Say what every residual network of `network` takes from a checkpoint; copies nothing.

    The checkpoint may be a plain ResNet or hold one under a prefix (`backbone.`, or
    `feature_extractor.` in trackers of PyTracking's family). Each extractor takes the same
    weights; what it has no place for (the classifier, later stages) is left over.

    :param name: what to call the checkpoint in errors.
    :returns: the network's tensor names -> the checkpoint's.
    :raises PretrainedError: no residual network on a side, several in the checkpoint, or
        one of another depth or width.
    """
    prefixes = [k.removesuffix(MARK) for k in state if k == MARK or k.endswith('.' + MARK)]
    if len(prefixes) != 1:
        raise PretrainedError(f'{name} holds {len(prefixes)} residual networks '
                         f'({", ".join(prefixes) or "no " + MARK}); give a checkpoint with one')
    fitted: dict[str, str] = {}
    for path, module in network.named_modules():
        if not isinstance(module, ResNet):
            continue
        for key, own in module.state_dict().items():
            source = prefixes[0] + key
            if source not in state:
                if key.endswith(COUNTER):
                    continue
                raise PretrainedError(
                    f'{name} lacks {source}, which the network needs; set backbone and blocks to '
                    "the checkpoint's, or take another checkpoint")
            if state[source].shape != own.shape:
                raise PretrainedError(
                    f'{name}: {source} has shape {tuple(state[source].shape)}, the network needs '
                    f"{tuple(own.shape)}; set backbone and widths to the checkpoint's, or take "
                    'another checkpoint')
            fitted[f'{path}.{key}'] = source
    if not fitted:
        raise PretrainedError(f'a {type(network).__name__} has no residual network to fill from '
                         f'{name}; leave the checkpoint out')
    return fitted
