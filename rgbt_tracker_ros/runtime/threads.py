"""How torch's threads wait for one another. To be called before torch is imported."""
from __future__ import annotations

from collections.abc import MutableMapping
import os

_WAITING = {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '20000'}
"""Read by GNU's OpenMP library, torch's own, when it is loaded.

Threads that spin for as long as they like keep from running whom they wait for, where other
programs compute: a pass of the shipped student took 450 ms instead of 47 at the 95th percentile.
Threads that sleep at once have to be woken for each of its 28 convolutions: two of them took
15 ms for a frame on an idle machine, one alone 12.5. This many turns last from one convolution to
the next and not from one frame to the next: 9.7 ms; beside two other programs on two cores 17 ms,
where those that sleep at once took 26.
"""


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have threads spin for a moment before they sleep. What the user has set stays: with a
    policy, or a count, of the user's own nothing is changed.
    """
    if not any(name in environment for name in _WAITING):
        environment.update(_WAITING)
