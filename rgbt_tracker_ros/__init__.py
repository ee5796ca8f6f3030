"""Follow one target in a pair of cameras, RGB and thermal."""
from pkgutil import extend_path

# The generated messages may be installed elsewhere than these modules: see docs/architecture.md.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'
