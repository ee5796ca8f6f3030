"""New weights while the node runs, by parameter and by service; and the handover itself."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import threading
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nodes_kit import FakeTracker, robot, wait_for
import pytest
from rclpy.context import Context
from std_srvs.srv import Trigger

from rgbt_tracker_ros.types import Box, State


class Models:
    """What the parameter `model` may name: a tracker, or an error of loading."""

    def __init__(self, **named: Any) -> None:
        self.named: dict[str, Any] = {'': FakeTracker(model_name='first'), **named}
        self.loaded: list[tuple[str, str]] = []     # (model, thread)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, parameters: Any) -> FakeTracker:
        self.loaded.append((parameters.model, threading.current_thread().name))
        self.gate.wait(10)
        found = self.named[parameters.model]
        if isinstance(found, Exception):
            raise found
        return found


def reload(r: Any) -> Any:
    return r.call(Trigger, 'reload', Trigger.Request())


def test_a_parameter_brings_new_weights_and_the_target_is_kept(ros_context: Context) -> None:
    models = Models(new=FakeTracker(model_name='second'))
    with robot(ros_context, load=models) as (r, _):
        r.start()
        target = r.answers(3)[-1].target_id
        assert r.status.model == 'first'
        assert r.set(model='new', lost_frames=9) == [(True, '')] * 2
        status = r.until(lambda s: s.model == 'second')
        assert status.target_id == target and not status.message
        assert {t.target_id for t in r.answers(5)} == {target}
    second = models.named['new']
    assert models.loaded == [('', 'tracker'), ('new', 'loader')]
    assert [c for c, _ in second.calls[:2]] == ['warm_up', 'take_over']
    started = next(stamp for c, stamp in models.named[''].calls if c == 'init')
    assert second.calls[1] == ('take_over', started)     # of the pair that the target was given in
    assert second.box == Box(10, 10, 20, 20) and second.config.lost_frames == 9


def test_pairs_are_answered_while_a_model_is_loaded(ros_context: Context) -> None:
    models = Models(new=FakeTracker(model_name='second'))
    with robot(ros_context, load=models) as (r, _):
        r.start()
        models.gate.clear()
        assert r.set(model='new') == [(True, '')]
        wait_for(lambda: len(models.loaded) == 2)
        r.answers(10)
        assert r.status.model == 'first'
        models.gate.set()
        r.until(lambda s: s.model == 'second')
        r.answers(3)


REFUSED: dict[str, tuple[Any, str]] = {
    'corrupt': (ValueError('x.safetensors is not a readable safetensors file'), 'not a readable'),
    'a bug': (KeyError('layer'), "'layer'"),
    'blind': (FakeTracker(model_name='blind', sees=False), 'blind does not see the target where'),
    'other': (FakeTracker(refuse=RuntimeError('looks at thermal alone')), 'thermal alone')}


@pytest.mark.parametrize('name', REFUSED)
def test_what_can_not_take_over_is_refused_and_the_old_one_goes_on(
        name: str, ros_context: Context) -> None:
    bad, said = REFUSED[name]
    models = Models(bad=bad, good=FakeTracker(model_name='good'))
    with robot(ros_context, load=models) as (r, _):
        r.start()
        target = r.answers(1)[0].target_id
        assert r.set(model='bad') == [(True, '')]
        status = r.until(lambda s: 'the model is refused, the old one goes on' in s.message)
        assert said in status.message and status.model == 'first' and status.target_id == target
        assert {t.target_id for t in r.answers(3)} == {target}
        answer = reload(r)
        assert not answer.success and said in answer.message
        assert r.set(lost_frames=9) == [(True, '')]     # no reason to try once more
        # it is said for as long as the parameter names a model that does not run
        assert r.until(lambda s: s.message).message.startswith('the model is refused')
        assert r.set(model='good') == [(True, '')]
        r.until(lambda s: s.model == 'good' and 'refused' not in s.message)
        assert {t.target_id for t in r.answers(3)} == {target}
    assert [m for m, _ in models.loaded] == ['', 'bad', 'bad', 'good']


def test_the_service_loads_the_same_name_again(ros_context: Context) -> None:
    models = Models()
    with robot(ros_context, load=models) as (r, _):
        r.start(target=False)
        models.named[''] = FakeTracker(model_name='changed on disk')
        answer = reload(r)
        assert answer.success
        assert answer.message.startswith('changed on disk has taken over from first; ')
        assert r.until(lambda s: s.model == 'changed on disk').errors == 0
    assert [c for c, _ in models.named[''].calls] == ['warm_up']     # there was no target


def test_of_several_requests_the_last_one_counts(ros_context: Context) -> None:
    models = Models(**{n: FakeTracker(model_name=n) for n in 'abc'})
    with robot(ros_context, load=models) as (r, _):
        r.start()
        models.gate.clear()
        assert r.set(model='a') == [(True, '')]
        wait_for(lambda: len(models.loaded) == 2)
        assert r.set(model='b') == r.set(model='c') == [(True, '')]
        models.gate.set()
        r.until(lambda s: s.model == 'c')
    assert {s.model for _, s in r.statuses if s.model} == {'first', 'c'}


def test_a_node_without_a_model_says_what_to_do(ros_context: Context) -> None:
    models = Models(**{'/none': ValueError('no such file')})
    with robot(ros_context, load=models, model='/none') as (r, _):
        r.until(lambda s: 'failed' in s.message)
        answer = reload(r)
        assert not answer.success
        assert 'unconfigured (configure failed: no such file); configure it' in answer.message
        assert r.set(model='') == [(True, '')]      # and autostart tries again
        r.until(lambda s: s.model == 'first')


def test_a_cleanup_gives_up_what_is_loading(ros_context: Context) -> None:
    models = Models(new=FakeTracker(model_name='second'))
    with robot(ros_context, load=models) as (r, _):
        r.start()
        models.gate.clear()
        r.set(model='new')
        wait_for(lambda: len(models.loaded) == 2)
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
            request = ChangeState.Request()
            request.transition.id = transition
            assert r.call(ChangeState, 'change_state', request).success
        models.gate.set()
        assert r.until(lambda s: not s.model).message.startswith(
            'the node is unconfigured')
        assert 'refused' not in r.status.message
        assert not any(s.model == 'second' for _, s in r.statuses)


# --- the handover of the tracker itself

def test_real_files_are_exchanged_checked_by_sha256_and_kept_when_broken(
        ros_context: Context, tmp_path: Path) -> None:
    torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from rgbt_tracker_ros.models.checkpoint import save, sha256_of
    from rgbt_tracker_ros.models.student import Student, StudentConfig
    from rgbt_tracker_ros.nodes.loading import load_tracker
    path = tmp_path / 'robot.safetensors'
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        save(Student(StudentConfig()), path)
        files.append((path.read_bytes(), sha256_of(path)))
    path.write_bytes(files[0][0])
    with robot(ros_context, load=load_tracker, model=str(path), device='cpu', threads=1) as (r, _):
        assert r.until(lambda s: s.model, 60).model == f'robot.safetensors {files[0][1][:12]}'
        path.write_bytes(files[1][0])
        answer = reload(r)
        assert answer.success, answer.message
        assert r.until(lambda s: files[1][1][:12] in s.model)
        path.write_bytes(files[0][0][:5000])
        answer = reload(r)
        assert not answer.success and 'not a readable safetensors file' in answer.message
        path.write_bytes(files[0][0])
        assert r.set(model_sha256=files[1][1]) == [(True, '')]
        status = r.until(lambda s: 'sha256' in s.message)
        assert files[1][1][:12] in status.model
        r.set(model_sha256=files[0][1][:16])
        r.until(lambda s: files[0][1][:12] in s.model and 'refused' not in s.message)


START, STEP = Box(280, 200, 40, 60), (4.0, 3.0)


def oracle(**attributes: Any) -> Any:
    from tracker_kit import Oracle
    made = Oracle()
    made.__dict__.update(attributes)
    return made


def followed(frames: int = 10, **options: Any) -> Any:
    """Return a tracker that follows the white box since `frames` pairs."""
    from tracker_kit import moved, scene

    from rgbt_tracker_ros.tracking.tracker import Tracker
    tracker = Tracker(oracle(**options))
    tracker.init(scene(START), START)
    for n in range(1, frames):
        tracker.update(scene(moved(START, STEP, n), number=n))
    return tracker


def test_the_new_tracker_goes_on_where_the_old_one_is() -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from tracker_kit import moved, scene

    from rgbt_tracker_ros.tracking.tracker import Tracker
    old, asked = followed(), []
    new = Tracker(oracle(encode=lambda *a: (asked.append(a[2]), oracle().encode(*a))[1]))
    assert new.take_over(old, scene(START), START)
    (box,) = asked      # the box that the user gave, in the middle of its crop
    assert box.center == pytest.approx((new._student.config.template_size / 2,) * 2)
    both = [t.update(scene(moved(START, STEP, 10), number=10)) for t in (new, old)]
    assert both[0].box == both[1].box and both[0].state == State.TRACKING
    assert both[0].box.iou(moved(START, STEP, 10)) > 0.7


@pytest.mark.parametrize(('change', 'sees'), [
    (lambda o: None, True),
    (lambda o: o.__dict__.update(logit=-6.0), False),                   # sees nothing
    (lambda o: setattr(o, 'search', _elsewhere(o)), False)])            # sees something else
def test_a_tracker_that_does_not_see_the_target_says_so(
        change: Callable[[Any], None], sees: bool) -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from tracker_kit import scene

    from rgbt_tracker_ros.tracking.tracker import Tracker
    student = oracle()
    change(student)
    old = followed()
    before = old._box
    assert Tracker(student).take_over(old, scene(START), START) is sees
    assert old._box == before and old.has_target


def _elsewhere(student: Any) -> Any:
    def search(template: Any, rgb: Any, thermal: Any) -> Any:
        found = oracle().search(template, rgb, thermal)
        found.boxes[:] = found.boxes - 60
        return found
    return search


def test_a_lost_target_is_looked_for_by_the_new_tracker() -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from tracker_kit import moved, scene

    from rgbt_tracker_ros.tracking.tracker import Tracker
    old = followed()
    nothing = Box(-50, -50, 1, 1)
    for n in range(10, 40):
        state = old.update(scene(nothing, number=n)).state
    assert state in (State.SEARCHING, State.LOST)
    new = Tracker(oracle())
    assert new.take_over(old, scene(START), START)
    box = moved(START, (60, 40))
    states = [new.update(scene(box, number=n)).state for n in range(40, 60)]
    assert State.TRACKING in states


def test_there_must_be_a_target_to_take_over() -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from tracker_kit import scene

    from rgbt_tracker_ros.tracking.tracker import Tracker
    with pytest.raises(RuntimeError, match='has no target'):
        Tracker(oracle()).take_over(Tracker(oracle()), scene(START), START)


