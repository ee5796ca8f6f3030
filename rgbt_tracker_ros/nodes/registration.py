"""Between the pixels of the two cameras."""
from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from rgbt_tracker_ros.nodes.image_conversion import Array
from rgbt_tracker_ros.nodes.pairing import THERMAL
from rgbt_tracker_ros.tracking.geometry import of_indices, thermal_to_rgb
from rgbt_tracker_ros.types import Box

Size = tuple[int, int]      # (width, height)


def box_in_rgb(box: Box, homography: tuple[float, ...], thermal: Size, rgb: Size) -> Box:
    """Return the bounding box in RGB pixels of a box in thermal pixels.

    :param homography: of the parameters. :param thermal: size of that image; `rgb` too.
    """
    x, y, w, h = box.as_tuple()
    corners = np.array([[(x, y), (x + w, y), (x, y + h), (x + w, y + h)]], np.float64)
    xy = cv2.perspectiveTransform(corners, thermal_to_rgb(homography, thermal, rgb))[0]
    (x1, y1), (x2, y2) = xy.min(0), xy.max(0)
    return Box(float(x1), float(y1), float(x2 - x1), float(y2 - y1))


def image_in(reference: str, image: Array, homography: tuple[float, ...], size: Size) -> Array:
    """Return the other camera's image in the pixels of `reference`, an image of that size."""
    own = image.shape[1], image.shape[0]
    if reference == THERMAL:
        matrix = np.asarray(np.linalg.inv(thermal_to_rgb(homography, size, own)), np.float64)
    else:
        matrix = thermal_to_rgb(homography, own, size)
    return cast(Array, cv2.warpPerspective(image, of_indices(matrix), size))
