"""Seeds of the parts of a training, so that none depends on what was drawn before it."""
from __future__ import annotations

import hashlib


def derive(seed: int, *parts: object) -> int:
    """Return a seed in [0, 2^31) for one part, as ('teacher', 17): the same on every machine."""
    text = '/'.join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big') >> 1
