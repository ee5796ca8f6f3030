#!/usr/bin/env python3
"""Record two cameras from another process, and say what that took.

1280x720 bgr8 and 640x512 mono16 at 30 Hz. Three processes: the cameras, `recorder_node`, and this
one. Reported: pairs sent and written (every byte of every pair is checked when the file is read
back), where each pair that is missing got lost, the recorder's CPU time and peak memory, the bytes
per second that it wrote, then what the writer alone and `dd` (fdatasync) manage on the same disk.
Exits with 1 where a pair is missing. Stamps are those of publishing, so the cameras' lateness is
jitter in them; --late provokes it.

    python benchmarks/recorder.py --seconds 60 --output /path/on/the/disk
"""
from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from typing import Any
import zlib

from mcap.reader import make_reader
import numpy as np

from rgbt_tracker_ros.processes import free_domain, shm_profile
from rgbt_tracker_ros.recording.raw_images import IMAGE, parse, stamp_of
from rgbt_tracker_ros.recording.recorder import Recorder, RecorderSettings
from rgbt_tracker_ros.recording.segment import Received, RecordedPair, Source

RATE = 30
CAMERAS = {'rgb': ('bgr8', 1280, 720, 3), 'thermal': ('mono16', 640, 512, 2)}
DIFFERENT = 8       # pictures of each camera, shown in turn


def pictures() -> dict[str, list[bytearray]]:
    """Return serialised images, to be stamped before each use."""
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image
    made: dict[str, list[bytearray]] = {}
    for name, (encoding, width, height, size) in CAMERAS.items():
        made[name] = []
        for seed in range(DIFFERENT):
            msg = Image(encoding=encoding, width=width, height=height, step=width * size)
            msg.header.frame_id = name
            pixels = np.random.default_rng(seed).integers(0, 256, msg.step * height, np.uint8)
            msg.data.frombytes(pixels.tobytes())
            made[name].append(bytearray(serialize_message(msg)))
    return made


@dataclass(frozen=True, slots=True)
class Sent:
    """What the cameras' process says when it ends, as JSON.

    `stamps`: of each pair, ns. `late`: ms, the latest. `acknowledged`: whether the recorder's
    middleware confirmed all in the end. `checksums`: by camera, of the pictures but their stamps:
    made once, as what pads the fields of a message may differ when it is serialised again.
    """

    stamps: list[int]
    late: float
    acknowledged: bool
    checksums: dict[str, list[int]]


def cameras(seconds: float, delay: float) -> Sent:
    """Publish. `delay`: s by which every 40th pair is late."""
    import rclpy
    from rclpy.duration import Duration
    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image
    rclpy.init()
    node = Node('cameras')
    publishers = {n: node.create_publisher(Image, f'{n}/image_raw', QoSProfile(depth=10))
                  for n in CAMERAS}
    shown = pictures()
    while not all(p.get_subscription_count() for p in publishers.values()):
        time.sleep(0.05)
    time.sleep(1.0)
    began, count, late, stamps = time.monotonic(), round(seconds * RATE), 0.0, []
    for number in range(count):
        due = began + number / RATE
        time.sleep(max(0.0, due - time.monotonic()) + (delay if number % 40 == 39 else 0.0))
        late = max(late, time.monotonic() - due)
        stamps.append(time.time_ns())
        stamp = divmod(stamps[-1], 10**9)
        for name, publisher in publishers.items():
            data = shown[name][number % DIFFERENT]
            struct.pack_into('<iI', data, 4, *stamp)
            publisher.publish(bytes(data))
    acknowledged = [p.wait_for_all_acked(Duration(seconds=10)) for p in publishers.values()]
    time.sleep(2.0)     # for the recorder to take the last from its middleware
    node.destroy_node()
    rclpy.shutdown()
    return Sent(stamps, 1e3 * late, all(acknowledged),
                {n: [zlib.crc32(memoryview(d)[12:]) for d in made] for n, made in shown.items()})


def cpu_and_memory(process: int) -> tuple[float, int]:
    """Return seconds of CPU and the peak of resident memory (bytes) of a process."""
    fields = Path(f'/proc/{process}/stat').read_text().rsplit(')', 1)[1].split()
    peak = re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{process}/status').read_text())
    assert peak is not None
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK'), int(peak[1]) * 1024


def read_back(folder: Path, known: dict[str, list[int]]) -> tuple[list[int], int]:
    """Return the stamps of the pairs, and how many of their images are not as they were sent."""
    pairs, wrong = [], 0
    for segment in sorted(folder.glob('*_[0-9]*')):
        with next(segment.glob('*.mcap')).open('rb') as file:
            stamps: dict[str, int] = {}
            for _, channel, message in make_reader(file).iter_messages(log_time_order=False):
                name = channel.topic.split('/')[1]
                wrong += zlib.crc32(memoryview(message.data)[12:]) not in known[name]
                stamps[name] = stamp_of(message.data)
                if name == 'thermal':
                    pairs.append(stamps['rgb'])
                    wrong += stamps['rgb'] != stamps['thermal']
    return pairs, wrong


def explain(sent: list[int], written: list[int], manifests: list[dict[str, Any]]) -> list[str]:
    """Return a line for each pair that was sent and is not in the files: where it was lost."""
    present = set(written)
    gone = {(whose, stamp): reason for m in manifests for stamp, whose, reason in m['lost']}
    received = sum((Counter({s: v['received'] for s, v in m['streams'].items()})
                    for m in manifests), Counter())
    lines = []
    for number, stamp in enumerate(sent):
        if stamp in present:
            continue
        came = [s for s in CAMERAS if (s, stamp) in gone]
        if ('pair', stamp) in gone:
            where = 'dropped: the queue was full'
        elif len(came) == len(CAMERAS):
            where = 'both images came, and were not matched'
        elif came:
            other, = set(CAMERAS) - set(came)
            where = f'{came[0]} came; {other} never came, or went with another image'
        elif all(received[s] == len(sent) for s in CAMERAS):
            where = 'all images came; it was not written, or its images went with others'
        else:
            where = 'never came'
        lines.append(f'lost     pair {number} of {len(sent)}, at '
                     f'{(stamp - sent[0]) / 1e9:.2f} s: {where}')
    if lines:
        lines.append('lost     ' + '; '.join(
            f'{s}: {received[s]} of {len(sent)} images came, and the recorder noticed '
            f'{sum(m["streams"][s]["missed"] for m in manifests)} that did not'
            for s in CAMERAS))
    return lines


def live(folder: Path, seconds: float, options: list[str], delay: float) -> bool:
    """Record from topics; return whether nothing was lost."""
    node = subprocess.Popen(
        [sys.executable, '-m', 'rgbt_tracker_ros.nodes.recorder_node', '--ros-args',
         '-p', f'output_dir:={folder}', *(a for o in options for a in ('-p', o))])
    time.sleep(3.0)
    with subprocess.Popen([sys.executable, __file__, '--cameras', '--seconds', str(seconds),
                           '--late', str(delay)], stdout=subprocess.PIPE,
                          text=True) as sender:
        assert sender.stdout is not None
        before, _ = cpu_and_memory(node.pid)
        began, load = time.monotonic(), os.getloadavg()
        line = sender.stdout.readline()
        after, memory = cpu_and_memory(node.pid)
        passed = time.monotonic() - began
    node.send_signal(signal.SIGINT)
    status = node.wait(60)
    sent = Sent(**json.loads(line))
    size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
    written, wrong = read_back(folder, sent.checksums)
    manifests = [json.loads(p.read_text()) for p in sorted(folder.glob('*/manifest.json'))]
    lost = len(sent.stamps) - len(written)
    print(f'{seconds:g} s, {os.cpu_count()} cores, load {load[0]:.1f} before and '
          f'{os.getloadavg()[0]:.1f} after, the cameras were up to {sent.late:.0f} ms late'
          f'{"" if sent.acknowledged else "; not all was acknowledged"}')
    used = after - before
    print(f'pairs    sent {len(sent.stamps)}, written {len(written)}, lost {lost}; '
          f'images that differ: {wrong}')
    for explanation in explain(sent.stamps, written, manifests):
        print(explanation)
    print(f'CPU      {used:.1f} s in {passed:.0f} s: {used / seconds:.2f} of a core')
    print(f'memory   {memory / 1e6:.0f} MB at its peak')
    print(f'written  {size / seconds / 1e6:.0f} MB/s (all that came)')
    return status == 0 and sent.stamps == written and not wrong


def writer_alone(folder: Path, size: int) -> float:
    """Return bytes per second of the recorder's writer with the same images, without ROS."""
    made = []
    for number in range(DIFFERENT):
        messages = [Received(Source(f'/{n}/image_raw', IMAGE), bytes(d[number]), 1, 1)
                    for n, d in SHOWN.items()]
        images = parse(messages[0].data, IMAGE), parse(messages[1].data, IMAGE)
        made.append((messages[0], messages[1], images))
    recorder = Recorder(RecorderSettings(folder, 'alone', queue_bytes=64 << 20))
    began, put = time.monotonic(), 0
    while put < size:
        if recorder.failure:
            raise SystemExit(recorder.failure)
        pair = RecordedPair(*made[put % DIFFERENT], stamp=time.monotonic_ns(), skew=0)
        if recorder.queued_bytes < 32 << 20 and recorder.put_pair(pair):
            put += pair.size
        else:
            time.sleep(0.001)
    assert recorder.stop()
    subprocess.run(['sync', *map(str, folder.rglob('*.mcap'))], check=True)
    return recorder.bytes / (time.monotonic() - began)


def dd(folder: Path, size: int) -> float:
    """Return bytes per second of dd."""
    began = time.monotonic()
    subprocess.run(['dd', 'if=/dev/zero', f'of={folder / "dd"}', 'bs=4M', 'conv=fdatasync',
                    f'count={size // (4 << 20)}', 'status=none'], check=True)
    return size / (time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=60.0, help='of recording')
    parser.add_argument('--output', type=Path, help='a folder on the disk; default: a temporary '
                        'one. What is written there is deleted again')
    parser.add_argument('--option', action='append', default=[], metavar='NAME:=VALUE',
                        help='parameter of the recorder; may be repeated')
    parser.add_argument('--late', type=float, default=0.0, metavar='S',
                        help='by which every 40th pair is published late; default: 0')
    parser.add_argument('--cameras', action='store_true', help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cameras:
        print(json.dumps(asdict(cameras(given.seconds, given.late))), flush=True)
        return 0
    folder = Path(tempfile.mkdtemp(prefix='recorder_benchmark_', dir=given.output))
    try:
        with free_domain() as domain:
            os.environ['ROS_DOMAIN_ID'] = str(domain)
            os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(
                shm_profile(folder, processes=3, largest=4 << 20)))
            good = live(folder / 'live', given.seconds, given.option, given.late)
        shutil.rmtree(folder / 'live')
        SHOWN.update(pictures())
        size = 1 << 30
        alone, disk = writer_alone(folder / 'alone', size), dd(folder, size)
        print(f'disk     writer alone {alone / 1e6:.0f} MB/s, dd {disk / 1e6:.0f} MB/s (1 GiB '
              f'each, to disk): {alone / disk:.0%}')
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return not good


SHOWN: dict[str, list[bytearray]] = {}

if __name__ == '__main__':
    sys.exit(main())
