"""Bad input over a live graph: the node lives, tracks on, and says why in ~/status and the log."""
from __future__ import annotations

from array import array
from collections.abc import Callable
import math
from pathlib import Path
import time
from typing import Any

from nodes_kit import FakeTracker, resize, robot, wait_for
import pytest
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from rgbt_tracker_ros.msg import Track, TrackerStatus

CaptureFD = pytest.CaptureFixture[str]


BROKEN: dict[str, tuple[Callable[[Image], Any], str]] = {
    'unknown encoding': (lambda m: setattr(m, 'encoding', 'rgb9'), "encoding 'rgb9'"),
    'no encoding': (lambda m: setattr(m, 'encoding', ''), "encoding ''"),
    'step too small': (lambda m: setattr(m, 'step', 3), 'step is 3'),
    'data too short': (lambda m: m.data.pop(), 'data holds'),
    'data too long': (lambda m: m.data.append(0), 'data holds'),
    'no data': (lambda m: setattr(m, 'data', array('B')), 'data holds 0 bytes'),
    'empty image': (lambda m: setattr(m, 'height', 0), 'empty image: 64x0'),
    'absurd size': (lambda m: setattr(m, 'width', 2**32 - 1), 'step is'),
}


@pytest.mark.parametrize('camera', ['rgb', 'thermal'])
@pytest.mark.parametrize('case', BROKEN)
def test_broken_images(ros_context: Context, capfd: CaptureFD, case: str, camera: str) -> None:
    breaks, reason = BROKEN[case]
    with robot(ros_context) as (r, _):
        r.start()
        r.cameras.change[camera] = breaks
        status = r.until(lambda s: getattr(s, f'{camera}_health') == TrackerStatus.INVALID)
        assert f'{camera} (/{camera}/image_raw): ' in status.message and reason in status.message
        assert status.invalid > 0
        r.answers(3)                            # with the other camera
        del r.cameras.change[camera]
        assert r.until(lambda s: s.rgb_health == s.thermal_health == TrackerStatus.OK).target_id
        wait_for(lambda: r.answers(1)[0].weight_rgb == 0.5, what='both images again')
        assert r.status.errors == 0
    err = capfd.readouterr().err
    assert 1 <= err.count(reason) <= 2          # throttled
    assert 'Traceback' not in err


def test_thermal_size_that_changes_is_registered_anew(ros_context: Context,
                                                      capfd: CaptureFD) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, _):
        r.start()
        target = r.answers(3)[0].target_id
        r.cameras.change['thermal'] = lambda m: resize(m, 32)
        text = 'thermal image changed from 64x48 to 32x48'
        assert r.until(lambda s: text in s.message).target_id == target
        wait_for(lambda: tracker.pairs[-1].thermal.shape == (48, 32))   # type: ignore[union-attr]
        r.answers(3)
    assert text in capfd.readouterr().err


@pytest.mark.parametrize('cameras', [('rgb', 'thermal'), ('thermal',)])
def test_reference_size_that_changes_drops_the_target(
        ros_context: Context, capfd: CaptureFD, cameras: tuple[str, ...]) -> None:
    with robot(ros_context, cameras=cameras, use_rgb='rgb' in cameras) as (r, _):
        r.start()
        r.answers(3)
        r.cameras.change[cameras[0]] = lambda m: resize(m, 32)
        text = f'target dropped: {cameras[0]} image changed from 64x48 to 32x48'
        assert r.until(lambda s: text in s.message).state == Track.IDLE
        r.answers(3, Track.IDLE)
        assert r.request().request_accepted     # in the new size
        r.answers(3)
    assert text in capfd.readouterr().err


@pytest.mark.parametrize(('box', 'reason'), [
    ((math.nan, 10, 20, 20), 'is not finite'),
    ((10, 10, math.inf, 20), 'is not finite'),
    ((10, 10, 0, 20), 'has no area'),
    ((10, 10, 20, -5), 'has no area'),
    ((100, 10, 20, 20), 'lies outside the 64x48 image'),
    ((-30, 10, 20, 20), 'lies outside the 64x48 image'),
    ((62, 10, 20, 20), 'px a side are needed'),
])
def test_bad_boxes_are_refused_and_the_old_target_is_kept(
        ros_context: Context, capfd: CaptureFD, box: tuple[float, ...], reason: str) -> None:
    with robot(ros_context) as (r, _):
        r.start()
        target = r.answers(1)[0].target_id
        status = r.request(box)
        assert not status.request_accepted
        assert reason in status.request_message
        assert r.answers(3)[-1].target_id == target
    assert f"'r2' refused: box ({float(box[0])}" in capfd.readouterr().err


def test_target_before_the_ring_buffer(ros_context: Context, capfd: CaptureFD) -> None:
    with robot(ros_context, buffer_duration=0.3) as (r, _):
        r.start()
        status = r.request(stamp=time.time_ns() - 60_000_000_000)
        assert not status.request_accepted
        assert 'older than the newest pair' in status.request_message
        assert 'raise buffer_duration (now 0.3 s)' in status.request_message
        r.answers(3)
    assert 'raise buffer_duration' in capfd.readouterr().err


def test_target_before_any_image(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.until(lambda s: 'no image has arrived' in s.message or 'waiting' in s.message)
        status = r.request()
        assert (status.request_accepted, status.request_message) == (
            False, 'no image has arrived yet')
        r.start()
        r.answers(3)


@pytest.mark.parametrize(('back', 'reason'), [
    (100_000_000, 'is not newer than the one before'), (20_000_000_000, 'went back')])
def test_stamps_that_go_back(ros_context: Context, capfd: CaptureFD, back: int,
                             reason: str) -> None:
    with robot(ros_context) as (r, _):
        r.start()
        r.answers(10)
        r.cameras.offset = -back
        assert reason in r.until(lambda s: reason in s.message).message
        wait_for(lambda: r.answers(1)[0].weight_rgb == 0.5, what='pairs again')
        r.answers(5)
        assert r.status.errors == 0
    assert reason in capfd.readouterr().err


def test_parameters_out_of_range(ros_context: Context, capfd: CaptureFD) -> None:
    with robot(ros_context) as (r, node):
        r.start()
        for values, reason in (
                ({'pair_slop': 7.0}, 'pair_slop is 7.0; it must be within 0 to 1'),
                ({'lost_frames': 0}, 'lost_frames is 0; it must be within 1 to 1000'),
                ({'pair_slop': math.nan}, 'pair_slop is nan; it must be finite'),
                ({'pair_slop': 'wide'}, "pair_slop is 'wide'; it must be a number"),
                ({'thermal_range': 'hot'}, "thermal_range is 'hot'; it must be one of auto"),
                ({'homography': [1.0, 2.0]}, 'homography has 2 numbers; it must have 9'),
                ({'lost_threshold': 0.9}, 'lost_threshold is 0.9; it must be at most'),
                ({'image_qos': 'reliable'}, 'image_qos can only change while inactive'),
                ({'device': 'cuda:7'}, 'device can only change while unconfigured')):
            name = next(iter(values))
            before = node.get_parameter(name).value
            (ok, told), = r.set(**values)
            assert not ok and told, reason
            assert reason in r.until(lambda s, t=reason: t in s.message).message
            assert node.get_parameter(name).value == before
        assert r.set(pair_slop=0) == [(True, '')]       # a whole number will do
        r.answers(3)
    assert 'parameter refused: pair_slop is 7.0' in capfd.readouterr().err


@pytest.mark.parametrize('name', ['homography', 'pair_slop', 'model', 'autostart'])
def test_parameters_can_not_be_deleted(ros_context: Context, name: str) -> None:
    with robot(ros_context) as (r, node):
        r.start()
        value = node.get_parameter(name).value
        (ok, reason), = r.set(**{name: None})
        assert not ok and ('can not be deleted; its default is' in reason
                           or reason == 'Trying to set a read-only parameter: autostart.')
        assert node.get_parameter(name).value == value
        assert r.call(Trigger, 'reload', Trigger.Request()).success
        r.answers(3)


@pytest.mark.parametrize('empty', [None, 'null', []])
@pytest.mark.parametrize('name', ['initial_box', 'homography'])
def test_empty_lists_of_any_kind_start_the_node(ros_context: Context, name: str,
                                                empty: object) -> None:
    with robot(ros_context, **{name: empty}) as (r, _):
        r.start()
        assert r.set(**{name: [], 'lost_frames': 6}) == [(True, '')] * 2
        # what `ros2 param dump` asks for: of a list of bytes it makes null
        answer = r.call(GetParameters, 'get_parameters', GetParameters.Request(names=[name]))
        assert answer.values[0].type == ParameterType.PARAMETER_DOUBLE_ARRAY
        assert not answer.values[0].double_array_value


@pytest.mark.parametrize(('name', 'value', 'remedy'), [
    ('autostart', 'true', 'start the node again with a right one'),
    ('pair_slop', 'wide', 'set it, and try again')])
def test_start_values_of_the_wrong_type_say_what_to_do(
        ros_context: Context, name: str, value: object, remedy: str) -> None:
    with robot(ros_context, **{name: value}) as (r, _):
        status = r.until(lambda s: 'configure failed' in s.message)
        assert f"{name} is '{value}'; it must be" in status.message
        assert status.message.endswith(remedy)


@pytest.mark.parametrize(('policy', 'value', 'allowed'), [
    ('reliability', 'sometimes', 'best_available, reliable'), ('history', 'all', 'keep_last'),
    ('depth', -1, 'a whole number'), ('depth', 'many', 'a whole number')])
def test_qos_overrides_that_there_are_not(ros_context: Context, capfd: CaptureFD, policy: str,
                                          value: object, allowed: str) -> None:
    name = f'qos_overrides./rgb/image_raw.subscription.{policy}'
    with robot(ros_context, **{name: value}) as (r, _):
        status = r.until(lambda s: 'activate failed' in s.message)
        assert f'{name} is {value!r}; it must be {allowed}' in status.message
        assert 'the node is inactive' in r.request().request_message
    assert 'Traceback' not in capfd.readouterr().err


def test_start_value_out_of_range_can_be_corrected(ros_context: Context,
                                                   capfd: CaptureFD) -> None:
    with robot(ros_context, pair_slop=7.0) as (r, _):
        status = r.until(lambda s: 'configure failed' in s.message)
        assert 'pair_slop' in status.message
        assert 'the node is unconfigured' in r.request().request_message
        assert r.set(pair_slop=0.02) == [(True, '')]
        r.start()       # by itself, as autostart is true
        r.answers(3)
    assert 'configure failed' in capfd.readouterr().err


def misshapen_weights(path: Path) -> Path:
    """Return a weights file with one tensor too short."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    from rgbt_tracker_ros.models.checkpoint import save
    from rgbt_tracker_ros.models.student import Student, StudentConfig
    save(Student(StudentConfig()), path)
    with safe_open(path, 'pt') as file:
        meta, state = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}
    name = next(n for n, tensor in state.items() if tensor.ndim and len(tensor) > 1)
    save_file({**state, name: state[name][1:].contiguous()}, path, metadata=meta)
    return path


@pytest.mark.parametrize('case', ['unknown file', 'not weights', 'wrong sha256', 'wrong shapes',
                                  'no such GPU'])
def test_models_that_can_not_be_loaded(ros_context: Context, capfd: CaptureFD, tmp_path: Path,
                                       case: str) -> None:
    junk = tmp_path / 'junk.safetensors'
    junk.write_bytes(b'\x10' * 100)
    parameters, reason = {
        'unknown file': ({'model': '/no/such/file.safetensors'}, '/no/such/file.safetensors'),
        'not weights': ({'model': str(junk)}, 'junk.safetensors'),
        'wrong sha256': ({'model': str(junk), 'model_sha256': 'abc123'}, 'abc123'),
        'wrong shapes': ({'model': str(misshapen_weights(tmp_path / 'short.safetensors'))},
                         'has shape'),
        'no such GPU': ({'device': 'cuda:99'}, 'cuda:99'),
    }[case]
    from rgbt_tracker_ros.nodes.loading import load_tracker
    real = [load_tracker]
    with robot(ros_context, load=lambda p: real[0](p), **parameters) as (r, _):
        status = r.until(lambda s: 'configure failed' in s.message, 30)
        assert reason in status.message
        assert not r.request().request_accepted
        real[0] = lambda p: FakeTracker()       # type: ignore[assignment, return-value]
        assert r.set(**dict.fromkeys(parameters, '' if case != 'no such GPU' else 'auto')
                     )[0] == (True, '')
        r.start()
        r.answers(3)
    err = capfd.readouterr().err
    assert reason in err
    assert 'Traceback' not in err
