"""The networks by name; a class is imported only when it is built."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

from rgbt_tracker_ros.models.network import Network

_HERE = 'rgbt_tracker_ros.models'

NETWORKS: dict[str, str] = {
    'student': f'{_HERE}.student:Student',
    'twin': f'{_HERE}.twin:Twin',
    'one_stream': f'{_HERE}.one_stream:OneStream',
    'two_stream': f'{_HERE}.two_stream:TwoStream',
    'coupled': f'{_HERE}.coupled:Coupled',
    'siamese': f'{_HERE}.siamese:Siamese',
    'dimp': f'{_HERE}.dimp:DiMP',
}


def network_class(name: str) -> type[Network]:
    """Return the class of a network.

    :raises ValueError: no network of that name.
    """
    if name not in NETWORKS:
        raise ValueError(f'no network {name!r}; there are {", ".join(NETWORKS)}')
    module, _, attribute = NETWORKS[name].partition(':')
    return getattr(import_module(module), attribute)


def name_of(network: Network) -> str:
    """Return the name under which a network's class is registered.

    :raises ValueError: its class is not registered.
    """
    path = f'{type(network).__module__}:{type(network).__qualname__}'
    for name, registered in NETWORKS.items():
        if registered == path:
            return name
    raise ValueError(f'{path} is not registered as a network')


def build(name: str, **config: Any) -> Network:
    """Build a network with random weights; lists (as YAML and JSON give them) become tuples.

    :raises ValueError: unknown name or field, a field of the wrong type, sizes that don't fit.
    """
    cls = network_class(name)
    _check(name, cls, config)
    return cls(cls.Config(**{k: _frozen(v) for k, v in config.items()}))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _check(name: str, cls: type[Network], config: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first field that is unknown or of another type."""
    known = {f.name: f for f in fields(cls.Config)}
    for key, value in config.items():
        if key not in known:
            raise ValueError(f'network {name!r} has no field {key!r}; it has '
                             f'{", ".join(known)}')
        default = known[key].default
        if default is MISSING or default is None:
            continue
        wanted: tuple[type, ...] = {float: (int, float), tuple: (list, tuple)}.get(
            type(default), (type(default),))
        if not isinstance(value, wanted) or (isinstance(value, bool)
                                             and not isinstance(default, bool)):
            raise ValueError(f'field {key!r} of network {name!r} is {value!r}; it must be like '
                             f'its default {default!r}')
