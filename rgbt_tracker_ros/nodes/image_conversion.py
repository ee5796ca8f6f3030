"""sensor_msgs Image and CompressedImage to numpy, without cv_bridge; kept in data/."""
from __future__ import annotations

from rgbt_tracker_ros.data.image_messages import (
    ACCEPTED,
    ENCODINGS,
    SINGLE_CHANNEL,
    Array,
    Encoding,
    ImageError,
    check,
    to_rgb,
    to_thermal,
)

__all__ = ['ACCEPTED', 'ENCODINGS', 'SINGLE_CHANNEL', 'Array', 'Encoding', 'ImageError', 'check',
           'to_rgb', 'to_thermal']
