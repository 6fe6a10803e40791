"""The same networks in PyTorch: functions of tensors named as the leaves of JAX's params."""

import functools
from collections.abc import Callable
from typing import Any

from torch.nn import functional  # pyright: ignore[reportMissingImports]

Tensors = dict[str, Any]
"""Tensors by leaf path, in PyTorch's layout."""

Forward = Callable[[Tensors, Tensors, Any, bool], Any]
"""`forward(params, buffers, images, train) -> logits`; images are `[batch, c, h, w]`."""


def lenet_300_100(params: Tensors, buffers: Tensors, images: Any, train: bool) -> Any:
    """Computes LeNet-300-100's logits."""
    del buffers, train
    return _dense_layers(params, images.flatten(1))


def conv_2(params: Tensors, buffers: Tensors, images: Any, train: bool) -> Any:
    """Computes Conv-2's logits."""
    del buffers, train
    x = images
    for layer in _layers(params, axes=4):
        x = functional.relu(_convolve(params, layer, x))
    return _dense_layers(params, functional.max_pool2d(x, 2).flatten(1))


def resnet_20(params: Tensors, buffers: Tensors, images: Any, train: bool) -> Any:
    """Computes ResNet-20's logits; in training it moves the batch statistics."""
    unit = functools.partial(_unit, params, buffers, train=train)
    x = functional.relu(unit("base", images))
    for number in range(9):
        # The first block of the second and of the third stage halves the image.
        block, stride = f"block_{number:02}", 2 if number in (3, 6) else 1
        y = functional.relu(unit(f"{block}/branch_0", x, stride))
        y = unit(f"{block}/branch_1", y)
        shortcut = unit(f"{block}/shortcut", x, stride) if stride == 2 else x
        x = functional.relu(y + shortcut)
    return _dense_layers(params, x.mean((2, 3)))


FORWARDS: dict[str, Forward] = {
    "lenet_300_100": lenet_300_100,
    "conv_2": conv_2,
    "resnet_20": resnet_20,
}
"""The networks by name."""


def _layers(params: Tensors, axes: int) -> list[str]:
    """Lists the layers whose kernel has so many axes, in the order of the params."""
    ending = "/kernel"
    return [
        p.removesuffix(ending) for p, t in params.items() if p.endswith(ending) and t.ndim == axes
    ]


def _dense_layers(params: Tensors, x: Any) -> Any:
    *hidden, output = _layers(params, axes=2)
    for layer in hidden:
        x = functional.relu(
            functional.linear(x, params[f"{layer}/kernel"], params[f"{layer}/bias"])
        )
    return functional.linear(x, params[f"{output}/kernel"], params[f"{output}/bias"])


def _convolve(params: Tensors, layer: str, x: Any, stride: int = 1) -> Any:
    kernel = params[f"{layer}/kernel"]
    return functional.conv2d(
        x, kernel, params.get(f"{layer}/bias"), stride, padding=kernel.shape[-1] // 2
    )


def _unit(
    params: Tensors, buffers: Tensors, name: str, x: Any, stride: int = 1, *, train: bool
) -> Any:
    """Convolves and normalises, with the constants of `jaxticket.models.resnet_20`."""
    norm, statistics = f"{name}/norm", f"batch_stats/{name}/norm"
    return functional.batch_norm(
        _convolve(params, f"{name}/convolution", x, stride),
        buffers[f"{statistics}/mean"],
        buffers[f"{statistics}/var"],
        params[f"{norm}/scale"],
        params[f"{norm}/bias"],
        training=train,
        momentum=0.1,
        eps=1e-5,
    )
