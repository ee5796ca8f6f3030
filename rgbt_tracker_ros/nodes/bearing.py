"""The unit ray from a camera to a pixel, of its raw image or of its rectified one."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo


class CameraInfoError(ValueError):
    """A calibration that can't be used; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """Intrinsics `k` (3, 3) and distortion coefficients `d` of a camera frame."""

    frame_id: str
    k: NDArray[np.float64]
    d: NDArray[np.float64]
    fisheye: bool = False

    @classmethod
    def from_info(cls, msg: CameraInfo, rectified: bool = False) -> CameraModel:
        """Return the model of the image: its region of interest and binning are applied.

        :param rectified: of the image that image_proc has rectified, by P, which has no
            distortion; else of the raw one, by K and D. A message fits both: it can't tell.
        :raises CameraInfoError: not calibrated, or a distortion model that is not known.
        """
        k = (np.array(msg.p, np.float64).reshape(3, 4)[:, :3].copy() if rectified
             else np.array(msg.k, np.float64).reshape(3, 3))
        if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
            raise CameraInfoError(f'{"P" if rectified else "K"} has focal lengths {k[0, 0]:g}, '
                                  f'{k[1, 1]:g}: the camera is not calibrated')
        binning = np.array([msg.binning_x or 1, msg.binning_y or 1], np.float64)
        k[:2, 2] -= msg.roi.x_offset, msg.roi.y_offset
        k[:2] /= binning[:, None]
        if rectified:
            return cls(msg.header.frame_id, k, np.zeros(0))
        models = {'': 'pinhole', 'plumb_bob': 'pinhole', 'rational_polynomial': 'pinhole',
                  'equidistant': 'fisheye', 'fisheye': 'fisheye'}
        if msg.distortion_model not in models:
            raise CameraInfoError(f'distortion_model {msg.distortion_model!r} is not known; use '
                                  'plumb_bob, rational_polynomial or equidistant')
        fisheye = models[msg.distortion_model] == 'fisheye'
        if fisheye and len(msg.d) != 4:
            raise CameraInfoError(f'{msg.distortion_model} has {len(msg.d)} coefficients in D; '
                                  'it must have 4')
        if len(msg.d) not in (0, 4, 5, 8, 12, 14) or not np.isfinite(msg.d).all():
            raise CameraInfoError(f'D is {list(msg.d)}; {msg.distortion_model} has 4, 5, 8, 12 or '
                                  '14 finite coefficients')
        return cls(msg.header.frame_id, k, np.array(msg.d, np.float64), fisheye)

    def ray(self, x: float, y: float) -> tuple[float, float, float]:
        """Return the unit vector (x right, y down, z forward) to pixel (x, y).

        Pixel coordinates as in `Box`: the centre of the first pixel is (0.5, 0.5).
        """
        point = np.array([[[x - 0.5, y - 0.5]]], np.float64)
        undistort = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
        u, v = undistort(point, self.k, self.d if self.d.size else np.zeros(4))[0, 0]
        ray = np.array([u, v, 1.0])
        rx, ry, rz = ray / np.linalg.norm(ray)
        return float(rx), float(ry), float(rz)
