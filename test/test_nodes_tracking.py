"""The tracker node over a live graph, with a fake tracker: what it answers, and how it starts."""
from __future__ import annotations

from typing import Any

from nodes_kit import FakeTracker, image, resize, robot, stamp_of, wait_for
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from rgbt_tracker_ros.msg import Box as BoxMsg
from rgbt_tracker_ros.msg import TargetRequest, Track, TrackerStatus
from rgbt_tracker_ros.nodes.camera_messages import compressed_message
from rgbt_tracker_ros.types import State


@pytest.mark.parametrize('best_effort', [False, True])
def test_every_pair_is_answered_with_both_images(ros_context: Context, best_effort: bool) -> None:
    with robot(ros_context, best_effort=best_effort) as (r, node):
        r.start()
        tracks = r.answers(20)
        stamps = [stamp_of(t) for t in tracks]
        first = r.cameras.sent.index(stamps[0])
        assert stamps == r.cameras.sent[first:first + len(stamps)]
        for track in tracks:
            assert track.header.frame_id == 'rgb_optical'
            assert (track.weight_rgb, track.weight_thermal, track.pair_skew) == (0.5, 0.5, 0.0)
            assert (track.box.x, track.box.w) == (10, 20)
            assert track.target_id == tracks[0].target_id != ''
        status = r.until(lambda s: s.answered >= len(tracks))
        assert (status.rgb_health, status.thermal_health) == (TrackerStatus.OK, TrackerStatus.OK)
        assert (status.message, status.errors, status.device) == ('', 0, 'cpu')
        assert status.model.startswith('fake')
        reliability = 'best_effort' if best_effort else 'reliable'
        assert {i.reliability for i in node._parts.inputs.images.values()} == {reliability}


def test_subscription_follows_a_change_of_publishers(ros_context: Context) -> None:
    with robot(ros_context) as (r, node):
        r.start()
        rgb = node._parts.inputs.images['rgb']
        assert rgb.reliability == 'reliable'
        other = r.node.create_publisher(Image, 'rgb/image_raw', qos_profile_sensor_data)
        wait_for(lambda: rgb.reliability == 'best_effort', what='best effort')
        r.answers(5)
        r.node.destroy_publisher(other)
        wait_for(lambda: rgb.reliability == 'reliable', what='reliable again')
        r.answers(5)


def test_reliable_subscription_to_a_best_effort_camera_is_explained(
        ros_context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    with robot(ros_context, best_effort=True, image_qos='reliable') as (r, _):
        status = r.until(lambda s: 'published best effort' in s.message)
        assert 'set image_qos to auto or sensor_data' in status.message
        assert status.rgb_health == TrackerStatus.WAITING
    assert 'set image_qos to auto' in capfd.readouterr().err


def test_standard_qos_overrides_have_the_last_word(ros_context: Context) -> None:
    prefix = 'qos_overrides./rgb/image_raw.subscription'
    with robot(ros_context, **{f'{prefix}.reliability': 'best_effort', f'{prefix}.depth': 2}) as (
            r, node):
        r.start()
        images = node._parts.inputs.images
        assert (images['rgb'].reliability, images['thermal'].reliability) == (
            'best_effort', 'reliable')
        assert images['rgb']._subscription.qos_profile.depth == 2


def test_remappings_may_swap_the_cameras(ros_context: Context) -> None:
    with robot(ros_context, remap=('rgb/image_raw:=thermal/image_raw',
                                   'thermal/image_raw:=rgb/image_raw')) as (r, node):
        images = wait_for(lambda: node._parts.inputs).images
        assert images['rgb'].topic == '/thermal/image_raw'
        r.cameras.start()
        wait_for(lambda: all(i._subscription for i in images.values()), what='subscriptions')
        assert {s: i._subscription.topic_name for s, i in images.items()} == {
            'rgb': '/thermal/image_raw', 'thermal': '/rgb/image_raw'}
        wait_for(lambda: r.tracks)
        assert {t.header.frame_id for t in r.answers(3, None)} == {'thermal_optical'}


@pytest.mark.parametrize(('remap', 'topic'), [
    ((), '/rgb/image_raw/compressed'),
    (('rgb/image_raw:=/cam/image',), '/cam/image/compressed'),
    (('rgb/image_raw/compressed:=/cam/jpeg',), '/cam/jpeg'),
    (('rgb/image_raw:=/cam/image', 'rgb/image_raw/compressed:=/cam/jpeg'), '/cam/jpeg')])
def test_compressed_images_are_found_beside_the_remapped_topic(
        ros_context: Context, remap: tuple[str, ...], topic: str) -> None:
    with robot(ros_context, remap=remap, image_transport='compressed') as (_, node):
        assert wait_for(lambda: node._parts.inputs).images['rgb'].topic == topic


def test_wrong_type_of_topic_is_explained(ros_context: Context, domain_id: int) -> None:
    elsewhere = Context()       # one participant can't have two types on one topic
    rclpy.init(context=elsewhere, domain_id=domain_id)
    camera = Node('camera', context=elsewhere)
    camera.create_publisher(CompressedImage, 'rgb/image_raw', 1)
    with robot(ros_context, cameras=('thermal',)) as (r, _):
        status = r.until(lambda s: 'set image_transport' in s.message)
        assert '/rgb/image_raw carries sensor_msgs/msg/CompressedImage' in status.message
        r.start()
    camera.destroy_node()
    rclpy.try_shutdown(context=elsewhere)


def test_without_a_target_pairs_are_answered_idle(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.start(target=False)
        assert all((t.state, t.target_id) == (Track.IDLE, '') for t in r.answers(3, None))
        assert r.until(lambda s: s.pairs > 3).answered == 0


@pytest.mark.parametrize(('camera', 'use'), [('rgb', 'use_thermal'), ('thermal', 'use_rgb')])
def test_one_camera_runs_without_waiting(ros_context: Context, camera: str, use: str) -> None:
    with robot(ros_context, cameras=(camera,), **{use: False}) as (r, node):
        r.start()
        assert {t.header.frame_id for t in r.answers(10)} == {f'{camera}_optical'}
        assert node._parts.inputs.matcher.wake_at is None
        status = r.until(lambda s: s.singles > 10)
        assert (status.message, status.pairs) == ('', 0)


def test_target_in_the_past_starts_on_its_frame_and_catches_up(ros_context: Context) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, _):
        r.start(target=False)
        r.answers(20, state=None)
        known = [stamp_of(t) for t in r.tracks][-8:]    # more pairs come until it is heard
        asked = known[0]
        status = r.request(stamp=asked)
        assert status.request_accepted
        assert 'pairs ago' in status.request_message
        r.answers(3)
        calls = [c for c in tracker.calls if c[0] != 'warm_up']
        assert calls[0] == ('init', asked)
        assert [s for _, s in calls][:len(known)] == known
        # answered without a target then, and once more as its first pair
        assert [t.state for t in r.tracks if stamp_of(t) == asked] == [Track.IDLE, Track.TRACKING]


def test_target_of_a_pair_to_come_waits_for_it(ros_context: Context) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, _):
        r.start(target=False)
        status = r.request(stamp=r.cameras.sent[-1] + 200_000_000)
        assert status.request_accepted
        r.answers(3)


def test_initial_box_starts_on_the_first_pair(ros_context: Context) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker, initial_box=[1, 2, 30, 40]) as (r, _):
        r.start(target=False)
        r.answers(1)
        assert tracker.calls[1][0] == 'init'
        assert tracker.box is not None and tracker.box.as_tuple() == (1, 2, 30, 40)
        assert r.until(lambda s: s.request_accepted).request_id == 'initial_box'


def test_initial_box_waits_for_rgb_where_thermal_comes_up_first(ros_context: Context) -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    tracker = FakeTracker()
    with robot(ros_context, tracker, initial_box=[40, 30, 20, 14]) as (r, _):
        arrays: list[DiagnosticArray] = []
        r.node.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)
        r.cameras.change['thermal'] = lambda m: resize(m, 32)   # the box is not even in it
        r.cameras.on['rgb'] = False
        r.cameras.start()
        text = 'initial_box waits: no rgb image has come yet'
        assert not r.until(lambda s: text in s.message).request_id
        wait_for(lambda: any((s.message, s.level) == (text, DiagnosticStatus.WARN)
                             for a in arrays for s in a.status), what='diagnostics')
        r.cameras.on['rgb'] = True
        status = r.until(lambda s: s.request_id)
        assert (status.request_id, status.request_accepted) == ('initial_box', True)
        assert status.request_message.startswith('started on rgb 64x48')
        assert tracker.box is not None and tracker.box.as_tuple() == (40, 30, 20, 14)
        assert text not in r.until(lambda s: s.target_id).message


def test_requests_that_come_together_are_all_answered(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.start(target=False)
        wait_for(r.targets.get_subscription_count, what='discovery of ~/target')
        asked = [f'{k} of {who}' for k in range(10) for who in 'ABC']
        for k in range(0, len(asked), 3):
            for name in asked[k:k + 3]:
                r.targets.publish(TargetRequest(request_id=name, box=BoxMsg(
                    x=10.0, y=10.0, w=0.0 if 'B' in name else 20.0, h=20.0)))
            r.answers(2, None)
        r.until(lambda s: s.request_id == asked[-1])
        told = dict.fromkeys((s.request_id, s.request_accepted) for _, s in r.statuses)
        assert list(told) == [('', False), *((name, 'B' not in name) for name in asked)]


def test_reset_and_enable(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.start()
        old = r.answers(1)[0].target_id
        reply = r.call(SetBool, 'enable', SetBool.Request(data=False))
        assert reply.success
        assert 'paused' in r.until(lambda s: s.message).message
        count = len(r.tracks)
        r.until(lambda s: s.pairs > count + 5)
        assert len(r.tracks) <= count + 1
        r.call(SetBool, 'enable', SetBool.Request(data=True))
        assert r.answers(1)[0].target_id == old
        assert old in r.call(Trigger, 'reset', Trigger.Request()).message
        r.answers(3, Track.IDLE)
        assert r.request().target_id != old


def test_newest_pair_wins_while_the_tracker_is_slow(ros_context: Context) -> None:
    with robot(ros_context, FakeTracker(seconds=0.1)) as (r, _):
        r.start()
        ages = [t.age for t in r.answers(8)[2:]]
        assert max(ages) < 0.25        # one in work, one in the mailbox
        assert r.until(lambda s: s.dropped > 5).unmatched == 0


def test_failure_of_one_frame_is_counted_and_survived(ros_context: Context,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, _):
        r.start()
        tracker.fail = ZeroDivisionError('one bad frame')
        r.answers(2, Track.LOST)
        tracker.fail = None
        r.answers(3)
        status = r.until(lambda s: s.errors >= 2)
        assert 'one bad frame' in status.message
    err = capfd.readouterr().err
    assert err.count('Traceback') == 1      # throttled, but with the whole story
    assert 'nodes_kit.py' in err


def test_bearing_points_along_the_optical_axis(ros_context: Context) -> None:
    from geometry_msgs.msg import Vector3Stamped
    with robot(ros_context) as (r, _):
        rays: list[Vector3Stamped] = []
        r.node.create_subscription(Vector3Stamped, 'rgbt_tracker/bearing', rays.append, 10)
        info = CameraInfo(width=64, height=48, distortion_model='plumb_bob', d=[0.0] * 5,
                          k=np.array([50., 0, 19.5, 0, 50, 19.5, 0, 0, 1]))
        info.header.frame_id = 'rgb_optical'
        publisher = r.node.create_publisher(CameraInfo, 'rgb/camera_info', 10)
        r.start()       # its box is centred on (20, 20), the middle of pixel (19, 19)
        wait_for(lambda: publisher.publish(info) or rays, what='bearing')
        v = rays[-1].vector
        assert (v.x, v.y, v.z) == pytest.approx((0, 0, 1))
        assert rays[-1].header.frame_id == 'rgb_optical'


def test_bearing_of_a_rectified_image(ros_context: Context) -> None:
    from geometry_msgs.msg import Vector3Stamped
    with robot(ros_context) as (r, _):
        rays: list[Vector3Stamped] = []
        r.node.create_subscription(Vector3Stamped, 'rgbt_tracker/bearing', rays.append, 10)
        info = CameraInfo(width=64, height=48, distortion_model='plumb_bob', d=[-0.3] + [0.0] * 4,
                          k=np.array([50., 0, 19.5, 0, 50, 19.5, 0, 0, 1]),
                          p=np.array([40., 0, 59.5, 0, 0, 40, 19.5, 0, 0, 0, 1, 0]))
        publisher = r.node.create_publisher(CameraInfo, 'rgb/camera_info', 10)
        r.start()
        wait_for(lambda: publisher.publish(info) or rays, what='bearing')
        assert rays[-1].vector.x == pytest.approx(0)
        assert r.set(rectified=True) == [(True, '')]
        wait_for(lambda: publisher.publish(info) or rays[-1].vector.x < -0.1)
        assert rays[-1].vector.x == pytest.approx(-0.5 ** 0.5)


def test_a_latched_camera_info_that_was_sent_once(ros_context: Context) -> None:
    """It is heard, also by `rectified`, which is set after it."""
    from geometry_msgs.msg import Vector3Stamped
    with robot(ros_context) as (r, _):
        rays: list[Vector3Stamped] = []
        r.node.create_subscription(Vector3Stamped, 'rgbt_tracker/bearing', rays.append, 10)
        r.node.create_publisher(CameraInfo, 'rgb/camera_info', QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)).publish(CameraInfo(
                width=64, height=48, distortion_model='plumb_bob', d=[0.0] * 5,
                k=np.array([50., 0, 19.5, 0, 50, 19.5, 0, 0, 1]),
                p=np.array([40., 0, 59.5, 0, 0, 40, 19.5, 0, 0, 0, 1, 0])))
        r.start()
        wait_for(lambda: rays, what='bearing')
        assert rays[-1].vector.x == pytest.approx(0)
        assert r.set(rectified=True) == [(True, '')]
        wait_for(lambda: rays[-1].vector.x < -0.1, what='bearing by P')
        assert r.set(rectified=False) == [(True, '')]
        wait_for(lambda: rays[-1].vector.x == pytest.approx(0), what='bearing by K')


def test_a_camera_info_of_other_images_gives_no_bearing(ros_context: Context) -> None:
    from geometry_msgs.msg import Vector3Stamped
    with robot(ros_context) as (r, _):
        rays: list[Vector3Stamped] = []
        r.node.create_subscription(Vector3Stamped, 'rgbt_tracker/bearing', rays.append, 10)
        info = CameraInfo(width=128, height=96, distortion_model='plumb_bob', d=[0.0] * 5,
                          k=np.array([50., 0, 19.5, 0, 50, 19.5, 0, 0, 1]))
        publisher = r.node.create_publisher(CameraInfo, 'rgb/camera_info', 10)
        r.start()
        text = 'no ~/bearing: rgb/camera_info is for 128x96'
        wait_for(lambda: publisher.publish(info) or text in r.status.message, what='a notice')
        assert 'the images are 64x48' in r.status.message and not rays
        info.binning_x = info.binning_y = 2
        wait_for(lambda: publisher.publish(info) or rays, what='bearing')


def test_detections_for_everyone_else_and_from_detectors(ros_context: Context) -> None:
    vision = pytest.importorskip(
        'vision_msgs.msg', reason='vision_msgs is not installed: apt install '
        'ros-jazzy-vision-msgs')
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, _):
        arrays: list[Any] = []
        r.node.create_subscription(vision.Detection2DArray, 'rgbt_tracker/detections',
                                   arrays.append, 10)
        targets = r.node.create_publisher(vision.Detection2D, 'rgbt_tracker/target_detection', 1)
        r.start(target=False)
        wait_for(lambda: arrays and not arrays[-1].detections, what='an empty array')
        msg = vision.Detection2D(id='from a detector')
        msg.bbox.center.position.x, msg.bbox.center.position.y = 20.0, 30.0
        msg.bbox.size_x, msg.bbox.size_y = 10.0, 12.0
        wait_for(targets.get_subscription_count, what='discovery of ~/target_detection')
        targets.publish(msg)
        assert r.until(lambda s: s.request_accepted).request_id == 'from a detector'
        assert tracker.box is not None and tracker.box.as_tuple() == (15, 24, 10, 12)
        detection = wait_for(lambda: arrays[-1].detections, what='a detection')[0]
        assert (detection.bbox.center.position.x, detection.bbox.size_y) == (20, 12)
        assert detection.results[0].hypothesis.class_id == 'target'
        assert detection.header == arrays[-1].header


def test_debug_image_comes_to_who_listens(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.start()
        overlays: list[Image] = []
        r.node.create_subscription(Image, 'rgbt_tracker/debug_image', overlays.append, 1)
        wait_for(lambda: len(overlays) > 2, what='debug images')
        assert (overlays[-1].encoding, overlays[-1].width) == ('rgb8', 64)


def test_compressed_images(ros_context: Context) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker, image_transport='compressed') as (r, _):
        cameras = {c: r.node.create_publisher(CompressedImage, f'{c}/image_raw/compressed', 5)
                   for c in ('rgb', 'thermal')}
        frames = {'rgb': np.full((48, 64, 3), (200, 100, 50), np.uint8),
                  'thermal': np.full((48, 64), 30000, np.uint16)}

        def show() -> bool:
            stamp = r.node.get_clock().now().to_msg()
            for name, frame in frames.items():
                msg = compressed_message(frame)
                msg.header.stamp = stamp
                cameras[name].publish(msg)
            return any(p.rgb is not None and p.thermal is not None for p in tracker.pairs)

        wait_for(lambda: show() or r.tracks, what='a track')
        assert r.request().request_accepted
        wait_for(show, what='a pair')
        pair = next(p for p in tracker.pairs if p.rgb is not None and p.thermal is not None)
        assert np.abs(pair.rgb[24, 32].astype(int) - (200, 100, 50)).max() < 8   # type: ignore
        assert pair.thermal.dtype == np.uint16 and pair.thermal[24, 32] == 30000  # type: ignore


@pytest.mark.parametrize('compressed', ['rgb', 'thermal'])
def test_one_camera_may_be_compressed(ros_context: Context, compressed: str) -> None:
    raw = 'thermal' if compressed == 'rgb' else 'rgb'
    tracker = FakeTracker()
    with robot(ros_context, tracker, cameras=(raw,),
               **{f'{compressed}_transport': 'compressed'}) as (r, _):
        publisher = r.node.create_publisher(CompressedImage,
                                            f'{compressed}/image_raw/compressed', 5)

        def beside(msg: Image) -> None:
            made = compressed_message(np.full((48, 64, 3), 90, np.uint8))
            made.header = msg.header
            publisher.publish(made)

        r.cameras.change[raw] = beside
        r.start()
        assert r.until(lambda s: s.pairs > 5).message in (
            '', f'{compressed} (/{compressed}/image_raw/compressed) is frozen: the same picture '
            'again and again')
        wait_for(lambda: r.answers(1)[0].weight_rgb == 0.5, what='both images')


def test_diagnostics_say_how_the_inputs_are(ros_context: Context) -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    with robot(ros_context) as (r, _):
        arrays: list[DiagnosticArray] = []
        r.node.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)
        r.start()
        r.answers(10)

        def by_name() -> dict[str, Any]:
            return {s.name: s for a in arrays[-1:] for s in a.status}

        names = {f'rgbt_tracker: {p}' for p in ('rgb', 'thermal', 'pairing', 'inference')}
        wait_for(lambda: by_name().keys() == names and all(
            s.level == DiagnosticStatus.OK for s in by_name().values()), what='all OK')
        assert ('reliability', 'reliable') in [
            (v.key, v.value) for v in by_name()['rgbt_tracker: rgb'].values]
        r.cameras.change['rgb'] = lambda m: setattr(m, 'height', 0)
        wait_for(lambda: by_name()['rgbt_tracker: rgb'].level != DiagnosticStatus.OK)


def test_states_and_healths_have_the_numbers_of_the_messages() -> None:
    from rgbt_tracker_ros.nodes.health import Health
    assert all(getattr(Track, s.name) == s for s in State)
    assert all(getattr(TrackerStatus, h.name) == h for h in Health)
    assert image().height == 48
