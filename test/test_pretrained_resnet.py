"""ImageNet checkpoints fit the residual networks of the library."""
from __future__ import annotations

from convnet_kit import SIAMESE, STUDENT, batch_for, dimp
import pytest
import torch
from torch import Tensor

from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.pretrained_resnet import fill_resnets, fit_resnets
from rgbt_tracker_ros.models.registry import build
from rgbt_tracker_ros.models.resnet import ResNet, shape_of

WIDTHS = (4, 6, 8, 10)


def checkpoint(prefix: str = '') -> dict[str, Tensor]:
    """Return the tensors of a small ResNet-18 with a classifier."""
    state = ResNet(shape_of('resnet18', widths=WIDTHS), 32).state_dict()
    return {prefix + k: torch.randn_like(v) if v.is_floating_point() else v
            for k, v in state.items()} | {f'{prefix}fc.weight': torch.zeros(3, 10)}


def small(**config: object) -> Network:
    fields = SIAMESE | {'backbone': 'resnet18', 'widths': list(WIDTHS), 'blocks': [2, 2, 2, 2],
                        'stride': 16, 'kernel': 3} | config
    return build('siamese', **fields)


@pytest.mark.parametrize('prefix', ['', 'feature_extractor.', 'module.backbone.'])
@pytest.mark.parametrize(('config', 'extractors'), [({}, 2), (STUDENT, 1)])
def test_every_extractor_is_filled(prefix: str, config: dict[str, object],
                                   extractors: int) -> None:
    network, state = small(**config), checkpoint(prefix)
    fitted = fit_resnets(network, state, 'the checkpoint')
    own = network.state_dict()
    assert fitted.keys() == {k for k in own if k.startswith('backbone.')}
    assert len({k.split('.')[1] for k in fitted}) == extractors
    fill_resnets(network, state, 'the checkpoint')
    for name, source in fitted.items():
        assert name.endswith(source.removeprefix(prefix))
        assert torch.equal(own[name], state[source])
    # three of four stages are used, and no classifier
    assert not any('layer4' in s or 'fc' in s for s in fitted.values())
    network.taps(batch_for(network, [0, 1]))


@pytest.mark.parametrize(('network', 'state', 'text'), [
    (lambda: small(), {'blocks.0.norm1.weight': torch.zeros(1)}, 'holds 0 residual networks'),
    (lambda: small(), checkpoint('a.') | checkpoint('b.'), 'holds 2 residual networks'),
    (lambda: small(widths=[4, 8, 8]), checkpoint(), r'layer2.0.conv1.weight has shape \(6, 4, 3, '
     r'3\), the network needs \(8, 4, 3, 3\); set backbone and widths'),
    (lambda: small(blocks=[2, 3, 2]), checkpoint(), 'file lacks layer2.2.conv1.weight'),
    (lambda: dimp(), checkpoint(), 'conv1.weight has shape'),
])
def test_what_does_not_fit_is_named(network: object, state: dict[str, Tensor],
                                    text: str) -> None:
    assert callable(network)
    with pytest.raises(ValueError, match=text):
        fit_resnets(network(), state, 'file')
