"""Which leaves may be pruned: predicates over a leaf's path."""

import fnmatch
from collections.abc import Callable
from typing import Any

import jax

Prunable = Callable[[str, Any], bool]
"""`prunable(path, leaf) -> bool`, with the path as `path_string` writes it."""


def path_string(path: tuple[Any, ...]) -> str:
    """Writes a JAX key path as names joined by `/`.

    Args:
      path: a key path from `jax.tree_util.tree_flatten_with_path`.

    Returns:
      For example `"hidden_0/kernel"`.

    Example:
      >>> leaves, _ = jax.tree_util.tree_flatten_with_path({"output": {"kernel": 1.0}})
      >>> path_string(leaves[0][0])
      'output/kernel'
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def kernels(path: str, leaf: Any) -> bool:
    """Says whether a leaf is a weight matrix or a convolution kernel, the papers' choice.

    Biases and the parameters of normalisation have one axis and are not pruned.

    Args:
      path: the leaf's path.
      leaf: `float[...]`.

    Returns:
      True for a leaf called `kernel` with two axes or more.

    Example:
      >>> import numpy as np
      >>> kernels("hidden_0/kernel", np.ones((3, 2))), kernels("hidden_0/bias", np.ones(2))
      (True, False)

    Source: Frankle & Carbin 2019 (1803.03635); `prunable_layer_names` of open_lth.
    """
    return path.rsplit("/", 1)[-1] == "kernel" and leaf.ndim >= 2


def matching(*patterns: str) -> Prunable:
    """Makes a predicate that holds where a path matches one of the shell-style patterns.

    Args:
      *patterns: e.g. `"hidden_*/kernel"`; `*` also matches `/`.

    Returns:
      The predicate.

    Example:
      >>> matching("hidden_*/kernel")("hidden_0/kernel", None)
      True
    """
    return lambda path, leaf: any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def excluding(*patterns: str, base: Prunable = kernels) -> Prunable:
    """Makes a predicate that is `base` without the paths that match a pattern.

    Args:
      *patterns: shell-style patterns of paths that stay dense.
      base: the predicate to start from.

    Returns:
      The predicate.

    Example:
      >>> import numpy as np
      >>> excluding("output/*")("output/kernel", np.ones((3, 2)))
      False
    """
    excluded = matching(*patterns)
    return lambda path, leaf: base(path, leaf) and not excluded(path, leaf)


all_but_output: Prunable = excluding("output/*", "*/output/*")
"""Every kernel but the output layer's: ResNet-18 and VGG-19 in 1803.03635, section 4 ("fc 0 %")."""

LAYERWISE_2019: dict[str, float] = {"*": 0.2, "output/*": 0.1}
"""Layerwise prune rates of LeNet-300-100 in 1803.03635: 20 % a level, the output layer half."""
