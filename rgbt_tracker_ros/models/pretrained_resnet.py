"""Start residual networks from a checkpoint with torchvision's names (ImageNet weights)."""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.resnet import ResNet

MARK = 'layer1.0.conv1.weight'
COUNTER = 'num_batches_tracked'


def holds_resnet(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint has a residual network in it, under whatever prefix."""
    return any(k == MARK or k.endswith('.' + MARK) for k in state)


def fit_resnets(network: Network, state: Mapping[str, Tensor], name: str) -> dict[str, str]:
    """Say what every residual network of `network` takes from a checkpoint; copies nothing.

    The checkpoint may be a plain ResNet or hold one under a prefix (`backbone.`, or
    `feature_extractor.` in trackers of PyTracking's family). Each extractor takes the same
    weights; what it has no place for (the classifier, later stages) is left over.

    :param name: what to call the checkpoint in errors.
    :returns: the network's tensor names -> the checkpoint's.
    :raises ValueError: no residual network on one of the two sides, several in the checkpoint, or
        one of another depth or width.
    """
    prefixes = [k.removesuffix(MARK) for k in state if k == MARK or k.endswith('.' + MARK)]
    if len(prefixes) != 1:
        raise ValueError(f'{name} holds {len(prefixes)} residual networks '
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
                raise ValueError(f'{name} lacks {source}, which the network needs; set backbone '
                                 "and blocks to the checkpoint's, or take another checkpoint")
            if state[source].shape != own.shape:
                raise ValueError(
                    f'{name}: {source} has shape {tuple(state[source].shape)}, the network needs '
                    f"{tuple(own.shape)}; set backbone and widths to the checkpoint's, or take "
                    'another checkpoint')
            fitted[f'{path}.{key}'] = source
    if not fitted:
        raise ValueError(f'a {type(network).__name__} has no residual network to fill from '
                         f'{name}; leave the checkpoint out')
    return fitted
