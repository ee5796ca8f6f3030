"""Convolutional trackers of the library run as any other: saved, loaded, asked for a crop."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from convnet_kit import STUDENT, TEACHER, batch_for, dimp, siamese
import numpy as np
import pytest
import torch

from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.runtime.threads import wait_briefly
from rgbt_tracker_ros.types import Box

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    'teacher': (siamese, TEACHER), 'student': (siamese, STUDENT),
    'iou_net': (dimp, {'box': 'iou_net'}), 'center': (dimp, {'box': 'center'}),
    'rgb': (dimp, {'box': 'center', 'modality': 'rgb'})}


@pytest.mark.parametrize('name', CASES)
def test_a_loaded_network_answers_as_the_trained_one(name: str, tmp_path: Path) -> None:
    make, config = CASES[name]
    network = make(**config)
    network.taps(batch_for(network, [0, 1, 2, 3]))  # move the running statistics
    network.eval()
    checkpoint.save(network.tracking_network(), tmp_path / 'a.safetensors')
    loaded = EagerStudent(tmp_path / 'a.safetensors', 'cpu', precision='float32')
    assert loaded.config == network.config

    batch = {k: (v * 255).to(torch.uint8) if 'rgb' in k or 'thermal' in k else v
             for k, v in batch_for(network, [9]).items()}
    crops = {k: v[0].permute(1, 2, 0).numpy() if 'rgb' in k else v[0, 0].numpy()
             for k, v in batch.items() if v.ndim == 4}
    box = Box(*batch['template_box'][0].tolist())
    template = loaded.encode(crops['template_rgb'], crops['template_thermal'], box)
    found = loaded.search(template, crops['search_rgb'], crops['search_thermal'])
    with torch.inference_mode():
        kept = network.encode_template(batch['template_rgb'], batch['template_thermal'],
                                       batch['template_present'], batch['template_box'])
        out = network(kept, batch['search_rgb'], batch['search_thermal'],
                      batch['search_present'])
    np.testing.assert_allclose(found.logits, out.logits[0, 0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.boxes, out.boxes[0], rtol=1e-3, atol=1e-2)
    assert 0 <= found.share_of_thermal(Box(20, 20, 16, 16), network.config.search_size) <= 1


@pytest.mark.parametrize('users', [{}, {'OMP_WAIT_POLICY': 'ACTIVE'}, {'GOMP_SPINCOUNT': '7'}])
def test_how_threads_wait_is_for_the_user_to_say(users: dict[str, str]) -> None:
    environment = dict(users)
    wait_briefly(environment)
    assert environment == (users or {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '20000'})
