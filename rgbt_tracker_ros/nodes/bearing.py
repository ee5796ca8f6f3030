"""The unit ray from a camera to a pixel, of its raw image or of its rectified one."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

_OFF = 1.0          # px by which a ray may miss the pixel that it is of
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)   # OpenCV's own 5 are few
_ANGLES = np.linspace(0.0, math.pi, 4001)       # rad from the axis; 1e-4 px between two of them


class CameraInfoError(ValueError):
    """A calibration that can't be used; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """Intrinsics `k` (3, 3) and distortion coefficients `d` of a camera frame.

    `size`: (width, height) of the image that they are for; 0 where the message does not say.
    """

    frame_id: str
    k: NDArray[np.float64]
    d: NDArray[np.float64]
    size: tuple[int, int]
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
        size = (int((msg.roi.width or msg.width) // binning[0]),
                int((msg.roi.height or msg.height) // binning[1]))
        if rectified:
            return cls(msg.header.frame_id, k, np.zeros(4), size)
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
        return cls(msg.header.frame_id, k, np.array(msg.d or [0.0] * 4, np.float64), size, fisheye)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether it is for images of `size` (width, height); what is binned may be rounded up."""
        return all(not own or own <= other <= own + 1
                   for own, other in zip(self.size, size, strict=True))

    def ray(self, x: float, y: float) -> tuple[float, float, float] | None:
        """Return the unit vector (x right, y down, z forward) to pixel (x, y); None where the
        model has none that leads there, as beyond the edge of what was calibrated.

        Pixel coordinates as in `Box`: the centre of the first pixel is (0.5, 0.5).
        """
        ray = (self._fisheye_ray if self.fisheye else self._pinhole_ray)(x - 0.5, y - 0.5)
        if ray is None:
            return None
        rx, ry, rz = (float(v) for v in ray / np.linalg.norm(ray))
        return rx, ry, rz

    def _pinhole_ray(self, x: float, y: float) -> NDArray[np.float64] | None:
        point = np.array([[[x, y]]], np.float64)
        u, v = cv2.undistortPointsIter(point, self.k, self.d, None, None, _STEPS)[0, 0]
        ray = np.array([u, v, 1.0])
        # where it has not converged, and where no ray leads, it does not say so
        if not np.isfinite(ray).all():
            return None
        back, _ = cv2.projectPoints(ray[None], np.zeros(3), np.zeros(3), self.k, self.d)
        return ray if np.linalg.norm(back.ravel() - (x, y)) <= _OFF else None

    def _fisheye_ray(self, x: float, y: float) -> NDArray[np.float64] | None:
        """By the angle from the axis: OpenCV's tangent of it points ahead for rays that come from
        behind.
        """
        u, v = (x - self.k[0, 2]) / self.k[0, 0], (y - self.k[1, 2]) / self.k[1, 1]
        distorted = math.hypot(u, v)
        shown = _fisheye_curve(tuple(self.d))
        if not distorted <= shown[-1]:
            return None
        angle = float(np.interp(distorted, shown, _ANGLES[:len(shown)]))
        aside = math.sin(angle) / distorted if distorted else 0.0
        return np.array([aside * u, aside * v, math.cos(angle)])


@lru_cache(maxsize=8)
def _fisheye_curve(d: tuple[float, ...]) -> NDArray[np.float64]:
    """Return how far out the first of `_ANGLES` are seen, at a focal length of 1."""
    powers = np.zeros(10)
    powers[1::2] = 1.0, *d
    shown = np.asarray(np.polynomial.polynomial.polyval(_ANGLES, powers), np.float64)
    # larger angles are seen further out: from where the polynomial turns back it means nothing
    falls = np.flatnonzero(np.diff(shown) <= 0)
    return shown[:int(falls[0]) + 1] if falls.size else shown
