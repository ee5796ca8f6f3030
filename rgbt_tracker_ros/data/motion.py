"""Tracks without labels: what moves in front of a still thermal camera.

The background is the median over time; what differs from it is a mover; movers are linked from
frame to frame while they stay one blob. The boxes are tight and cost nobody an hour, but they
exist only for a camera on a tripod and for targets that neither merge nor stand still.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Box

Gray = NDArray[np.uint8]


@dataclass(slots=True)
class MotionTrack:
    """One mover: frame numbers, boxes in px, and its silhouette (h, w) bool inside each box."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)


def background(frames: list[Gray], samples: int = 41) -> Gray:
    """Return the median over time of (H, W) uint8 frames, from `samples` of them."""
    picks = np.linspace(0, len(frames) - 1, min(samples, len(frames))).astype(int)
    return np.median(np.stack([frames[i] for i in picks]), axis=0).astype(np.uint8)


def movers(frame: Gray, still: Gray, threshold: int, min_area: int,
           ) -> list[tuple[Box, NDArray[np.bool_]]]:
    """Return boxes and silhouettes of the blobs that differ from the still background."""
    change = cv2.absdiff(cv2.GaussianBlur(frame, (3, 3), 0), still)
    binary = (change > threshold).astype(np.uint8)
    binary = cv2.morphologyEx(binary, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    # people are taller than wide, and a belt or a coat can cut them in two
    binary = cv2.morphologyEx(binary, cv2.MORPH_CLOSE, np.ones((11, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary)
    found = []
    for i in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[i])
        if area < min_area or area < 0.25 * w * h or not 0.15 < w / h < 4:
            continue
        found.append((Box(x, y, w, h), labels[y:y + h, x:x + w] == i))
    return found


def motion_tracks(frames: list[Gray], *, threshold: int = 22, min_area: int = 120,
                  min_length: int = 8, max_step: float = 0.35) -> list[MotionTrack]:
    """Link the movers of a still camera into tracks.

    A track ends when its blob merges, splits or jumps: its size may change by at most 35 % from
    one frame to the next, and no other blob may claim it.

    :param frames: (H, W) uint8 in order of time.
    :param min_length: shorter tracks are dropped.
    """
    if len(frames) < min_length:
        return []
    still = cv2.GaussianBlur(background(frames), (3, 3), 0)
    height, width = still.shape
    open_tracks: list[MotionTrack] = []
    done: list[MotionTrack] = []
    for number, frame in enumerate(frames):
        found = movers(frame, still, threshold, min_area)
        going_on = []
        for track in open_tracks:
            last = track.boxes[-1]
            overlaps = [last.iou(box) for box, _ in found]
            touching = [i for i, o in enumerate(overlaps) if o > 0.05]
            if len(touching) == 1:
                i = touching[0]
                box, mask = found[i]
                similar = (abs(np.log(box.w / last.w)) < max_step
                           and abs(np.log(box.h / last.h)) < max_step)
                rivals = sum(t.boxes[-1].iou(box) > 0.05 for t in open_tracks)
                if overlaps[i] > 0.4 and similar and rivals == 1:
                    track.frames.append(number)
                    track.boxes.append(box)
                    track.masks.append(mask)
                    going_on.append(track)
                    continue
            done.append(track)
        claimed = {id(t.masks[-1]) for t in going_on}
        for box, mask in found:
            inside = (box.x > 1 and box.y > 1 and box.x + box.w < width - 1
                      and box.y + box.h < height - 1)
            if id(mask) not in claimed and inside:
                going_on.append(MotionTrack([number], [box], [mask]))
        open_tracks = going_on
    return [t for t in done + open_tracks if len(t.frames) >= min_length]
