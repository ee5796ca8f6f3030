"""What leaves the cameras when, and as which message."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbt_tracker_ros.nodes.playback import Fault, Outbox

PERIOD = 0.1
CASES = {
    # fault: frames of rgb as (due, frame shown, frame whose stamp it has)
    'none': (Fault(), [(0.0, 0, 0), (0.1, 1, 1), (0.2, 2, 2), (0.3, 3, 3), (0.4, 4, 4)]),
    'stop': (Fault('stop', 'rgb', 0.1, 0.2), [(0.0, 0, 0), (0.3, 3, 3), (0.4, 4, 4)]),
    'freeze': (Fault('freeze', 'rgb', 0.1, 0.2),
               [(0.0, 0, 0), (0.1, 0, 1), (0.2, 0, 2), (0.3, 3, 3), (0.4, 4, 4)]),
    'frozen from the start': (Fault('freeze', 'rgb', 0.0, 0.2),
                              [(0.0, 0, 0), (0.1, 0, 1), (0.2, 2, 2), (0.3, 3, 3), (0.4, 4, 4)]),
    # frames 3 and 4 are on time, but behind frames that are not
    'late': (Fault('late', 'rgb', 0.1, 0.2, 0.25),
             [(0.0, 0, 0), (0.35, 1, 1), (0.45, 2, 2), (0.45, 3, 3), (0.45, 4, 4)]),
    'of the other camera': (Fault('stop', 'thermal', 0.1, 0.2),
                            [(i / 10, i, i) for i in range(5)]),
}


@pytest.mark.parametrize(('fault', 'expected'), CASES.values(), ids=CASES)
def test_outbox(fault: Fault, expected: list[tuple[float, int, int]]) -> None:
    outbox: Outbox[tuple[str, int]] = Outbox(fault)
    sent = []
    for i in range(5):
        sent += outbox.due(i * PERIOD)
        outbox.add(i * PERIOD, i, {s: (s, i) for s in ('rgb', 'thermal')})
    sent += outbox.due()
    rgb = [p for p in sent if p.stream == 'rgb']
    assert all(p.message[0] == 'rgb' for p in rgb)
    assert [(pytest.approx(p.due), p.message[1], p.stamp) for p in rgb] == expected
    assert [p.due for p in sent] == sorted(p.due for p in sent)
    thermal = [p.stamp for p in sent if p.stream == 'thermal']
    assert thermal == ([0, 3, 4] if fault.stream == 'thermal' else [0, 1, 2, 3, 4])


def test_a_parcel_is_not_due_before_its_time() -> None:
    outbox: Outbox[str] = Outbox(Fault('late', 'rgb', 0, 1, 0.5))
    outbox.add(0.0, 0, {'rgb': 'late', 'thermal': 'on time'})
    assert [p.message for p in outbox.due(0.1)] == ['on time']
    assert [p.message for p in outbox.due(0.5)] == []
    assert [p.message for p in outbox.due(0.51)] == ['late']


FRAMES = {
    'rgb8': np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3),
    'mono8': np.arange(20, dtype=np.uint8).reshape(4, 5),
    'mono16': (np.arange(20, dtype=np.uint16) * 1000).reshape(4, 5),
    '32FC1': np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5),
}


@pytest.mark.parametrize('encoding', FRAMES)
def test_image_message(encoding: str) -> None:
    from rgbt_tracker_ros.nodes.camera_messages import image_message

    frame = FRAMES[encoding]
    for given in (frame, frame[:, ::-1][:, ::-1], frame.astype(frame.dtype.newbyteorder('>'))):
        message = image_message(given)
        assert (message.height, message.width, message.encoding) == (4, 5, encoding)
        assert message.step * message.height == len(message.data) and not message.is_bigendian
        read = np.frombuffer(message.data, frame.dtype).reshape(frame.shape)
        np.testing.assert_array_equal(read, frame)


@pytest.mark.parametrize(('encoding', 'format_'), [
    ('rgb8', 'rgb8; jpeg compressed bgr8'), ('mono8', 'mono8; jpeg compressed mono8'),
    ('mono16', 'mono16; png compressed mono16')])
def test_compressed_message(encoding: str, format_: str) -> None:
    from rgbt_tracker_ros.nodes.camera_messages import compressed_message

    frame = np.repeat(np.repeat(FRAMES[encoding], 16, 0), 16, 1)
    message = compressed_message(frame, quality=100)
    assert message.format == format_
    read = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if frame.ndim == 3:
        read = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
    assert read.dtype == frame.dtype
    np.testing.assert_allclose(read.astype(float), frame, atol=0 if 'png' in format_ else 12)


@pytest.mark.parametrize('frame', [
    np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5), np.float64), np.zeros((0, 5), np.uint8),
    np.zeros(5, np.uint8)], ids=str)
def test_refuses_what_has_no_encoding(frame: np.ndarray) -> None:
    from rgbt_tracker_ros.nodes.camera_messages import image_message

    with pytest.raises(ValueError, match='no image encoding'):
        image_message(frame)


CALIBRATION = """\
image_width: 640
image_height: 480
camera_name: rgb
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320, 0, 500, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]}
"""


def test_read_camera_info(tmp_path: Path) -> None:
    from rgbt_tracker_ros.nodes.camera_messages import read_camera_info

    path = tmp_path / 'rgb.yaml'
    path.write_text(CALIBRATION)
    info = read_camera_info(path)
    assert (info.width, info.height, info.distortion_model) == (640, 480, 'plumb_bob')
    assert info.k.reshape(3, 3)[0].tolist() == [500, 0, 320]
    assert info.d.tolist() == [0.1, -0.2, 0, 0, 0]
    assert info.p[6] == 240


@pytest.mark.parametrize(('old', 'new', 'reason'), [
    ('camera_matrix', 'matrix', "no 'camera_matrix'"),
    ('240, 0, 0, 1]', '240]', 'camera_matrix has 6 numbers, it must have 9'),
    ('640', 'wide', 'not a camera calibration'),
    (CALIBRATION, '[]', 'not a camera calibration'),
    (CALIBRATION, '{', 'not a camera calibration'),
])
def test_refuses_calibrations(old: str, new: str, reason: str, tmp_path: Path) -> None:
    from rgbt_tracker_ros.nodes.camera_messages import read_camera_info

    path = tmp_path / 'rgb.yaml'
    path.write_text(CALIBRATION.replace(old, new, 1))
    with pytest.raises(ValueError, match=reason):
        read_camera_info(path)
