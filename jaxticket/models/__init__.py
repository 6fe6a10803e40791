"""Networks as `Model(init, apply)`: made here, or adapted from Flax Linen and NNX.

The rest of jaxticket knows only `jaxticket.types.Model`, two pure functions over plain
dicts, so a network written by hand or with another library needs nothing from this room.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxticket.models._from_linen import from_linen
    from jaxticket.models._from_nnx import from_nnx
    from jaxticket.models._mlp import lenet_300_100, mlp

__all__ = ["from_linen", "from_nnx", "lenet_300_100", "mlp"]

# Flax takes as long to import as JAX, so it is imported with the first network (PEP 562).
# The files are private because a submodule `mlp` would take the name of the function `mlp`.
_FILES = {
    "from_linen": "_from_linen",
    "from_nnx": "_from_nnx",
    "lenet_300_100": "_mlp",
    "mlp": "_mlp",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
