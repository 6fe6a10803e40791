"""Trees of arrays in JAX's layout as tensors in PyTorch's, and back."""

from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from jaxticket.masks import path_string

Tensors = dict[str, Any]
"""Tensors by leaf path, in PyTorch's layout."""

# From height, width, inputs, outputs.
_CONVOLUTION = (3, 2, 0, 1)


def to_torch(tree: Any, index: int, device: str) -> Tensors:
    """Copies one network's leaves to tensors.

    Kernels `[inputs, outputs]` become `[outputs, inputs]`, and `[h, w, inputs, outputs]`
    `[outputs, inputs, h, w]`; the dense kernel that reads a flattened image is put in the order
    of PyTorch's axes, so that the networks compute the same.

    Args:
      tree: NumPy leaves with networks along axis 0, `None` where there is nothing.
      index: which network.
      device: where the tensors go.

    Returns:
      Tensors by leaf path, in the order of the tree.
    """
    axes = _axes(tree)
    return {
        path: torch.tensor(
            np.ascontiguousarray(
                leaf[index].reshape(axes[path][0]).transpose(axes[path][1]).reshape(axes[path][2])
            ),
            device=device,
        )
        for path, leaf in _leaves(tree).items()
    }


def from_torch(tree: Any, networks: list[Tensors]) -> Any:
    """Copies tensors back: the inverse of `to_torch`.

    Args:
      tree: leaves of the wanted structure and shapes, networks along axis 0.
      networks: tensors by path, one a network.

    Returns:
      The tree with the tensors' values, as NumPy arrays.
    """
    axes = _axes(tree)

    def leaf(path: Any, wanted: Any) -> np.ndarray:
        inner, order, _ = axes[path_string(path)]
        values = np.stack(
            [tensors[path_string(path)].detach().cpu().numpy() for tensors in networks]
        )
        values = values.reshape(-1, *(inner[place] for place in order))
        back = [0, *(1 + place for place in np.argsort(order))]
        return np.ascontiguousarray(values.transpose(back).reshape(wanted.shape))

    return jax.tree_util.tree_map_with_path(leaf, tree)


def _leaves(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_string(path): leaf for path, leaf in leaves}


def _axes(tree: Any) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Says by path how one network's leaf is unfolded, its axes ordered and folded again."""
    found, channels = {}, None
    for path, leaf in _leaves(tree).items():
        shape = leaf.shape[1:]
        inner, order = shape, tuple(range(len(shape)))
        if len(shape) == 4:
            order, channels = _CONVOLUTION, shape[-1]
        elif len(shape) == 2:
            order = (1, 0)
            if channels is not None:
                side = round((shape[0] / channels) ** 0.5)
                inner, order = (side, side, channels, shape[1]), _CONVOLUTION
            # Only the first dense layer reads an image.
            channels = None
        outer = tuple(inner[place] for place in order)
        folded = outer if len(inner) == len(shape) else (shape[1], shape[0])
        found[path] = (inner, order, folded)
    return found
