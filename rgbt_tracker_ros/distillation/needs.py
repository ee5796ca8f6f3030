"""What training needs besides what tracking needs: the extra `train` of pyproject.toml."""
from __future__ import annotations

from importlib.util import find_spec

# by name, not as an extra: where colcon has installed, pip knows no package
INSTALL = "pip install 'lightning-fabric>=2.5,<2.7' 'matplotlib>=3.8' tensorboard"
TRAINING = ('lightning_fabric', 'matplotlib')


class NotInstalledError(ValueError):
    """Something that training needs is not there."""


def require(*modules: str) -> None:
    """Refuse to begin what could not be ended.

    :param modules: those without which nothing is trained, if none is named.
    :raises NotInstalledError: names all that are not installed, and what installs them.
    """
    if missing := [m for m in modules or TRAINING if find_spec(m) is None]:
        raise NotInstalledError(f'not installed: {", ".join(missing)}; {INSTALL}')
