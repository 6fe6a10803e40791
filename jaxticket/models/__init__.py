"""Networks as `Model(init, apply)`: made here, or adapted from Flax Linen and NNX.

The rest of jaxticket knows only `jaxticket.types.Model`, two pure functions over plain
dicts, so a network written by hand or with another library needs nothing from this room.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxticket.models._adapter import conv_general_dilated
    from jaxticket.models._convnet import conv_2, conv_4, conv_6, lenet_5
    from jaxticket.models._convolution import Convolution
    from jaxticket.models._deep_mlp import deep_mlp
    from jaxticket.models._from_linen import from_linen
    from jaxticket.models._from_nnx import from_nnx
    from jaxticket.models._lowering import choose_lowering, convolve, explain_lowering
    from jaxticket.models._mlp import lenet_300_100, mlp
    from jaxticket.models._mlp_7 import linear_mlp_7, mlp_7
    from jaxticket.models._pooling import average_pool, max_pool
    from jaxticket.models._resnet import resnet_18, resnet_20, resnet_32, resnet_56
    from jaxticket.models._vgg import vgg_11, vgg_16, vgg_19
    from jaxticket.models._vision_transformer import vision_transformer_tiny

__all__ = [
    "Convolution",
    "average_pool",
    "choose_lowering",
    "conv_2",
    "conv_4",
    "conv_6",
    "conv_general_dilated",
    "convolve",
    "deep_mlp",
    "explain_lowering",
    "from_linen",
    "from_nnx",
    "lenet_5",
    "lenet_300_100",
    "linear_mlp_7",
    "max_pool",
    "mlp",
    "mlp_7",
    "resnet_18",
    "resnet_20",
    "resnet_32",
    "resnet_56",
    "vgg_11",
    "vgg_16",
    "vgg_19",
    "vision_transformer_tiny",
]

# Flax takes as long to import as JAX, so it is imported with the first network (PEP 562).
# The files are private because a submodule `mlp` would take the name of the function `mlp`.
_FILES = {
    "Convolution": "_convolution",
    "average_pool": "_pooling",
    "choose_lowering": "_lowering",
    "conv_2": "_convnet",
    "conv_4": "_convnet",
    "conv_6": "_convnet",
    "conv_general_dilated": "_adapter",
    "convolve": "_lowering",
    "deep_mlp": "_deep_mlp",
    "explain_lowering": "_lowering",
    "from_linen": "_from_linen",
    "from_nnx": "_from_nnx",
    "lenet_300_100": "_mlp",
    "lenet_5": "_convnet",
    "linear_mlp_7": "_mlp_7",
    "max_pool": "_pooling",
    "mlp": "_mlp",
    "mlp_7": "_mlp_7",
    "resnet_18": "_resnet",
    "resnet_20": "_resnet",
    "resnet_32": "_resnet",
    "resnet_56": "_resnet",
    "vgg_11": "_vgg",
    "vgg_16": "_vgg",
    "vgg_19": "_vgg",
    "vision_transformer_tiny": "_vision_transformer",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
