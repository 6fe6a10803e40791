"""How far two implementations agree on a mask, and whether rounding explains the rest."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxticket.masks.basic import leaves_by_path

Arrays = Mapping[str, np.ndarray]
"""By leaf path."""


def arrays(tree: Any) -> dict[str, np.ndarray]:
    """Lists a tree's leaves on the host.

    Args:
      tree: arrays, `None` where there is nothing.

    Returns:
      Arrays by path.

    Example:
      >>> arrays({"w": np.ones(2), "b": None})
      {'w': array([1., 1.])}
    """
    return {path: np.asarray(leaf) for path, leaf in leaves_by_path(tree)}


def differing(one: Arrays, other: Arrays) -> int:
    """Counts the weights that only one of two masks keeps.

    Args:
      one: a mask.
      other: of the same leaves.

    Returns:
      How many.

    Example:
      >>> differing({"w": np.array([True, False])}, {"w": np.array([True, True])})
      1
    """
    return sum(int((one[path] != other[path]).sum()) for path in one)


def greatest_gap(one: Arrays, other: Arrays) -> float:
    """Finds how far two networks' weights are apart at most.

    Args:
      one: weights.
      other: of the same leaves.

    Returns:
      max |θ − θ'|.

    Example:
      >>> greatest_gap({"w": np.array([1.0, 2.0])}, {"w": np.array([1.0, 2.5])})
      0.5
    """
    return max(float(np.abs(one[path] - other[path]).max()) for path in one)


def unexplained(
    scope: str, weights: Arrays, mask: Arrays, others: Arrays, their: Arrays
) -> list[str]:
    """Finds where masks differ by more than rounding explains.

    Both keep the largest of their own weights, equally many. If no two weights of a layer are
    further apart than δ, neither are the thresholds; so a weight that only one side keeps is within
    2 δ of either. One that is not was chosen wrongly.

    Args:
      scope: `global` if all leaves compete, else each by itself.
      weights: that the first mask was made from.
      mask: the first mask.
      others: weights that the other one was made from.
      their: the other mask.

    Returns:
      The leaves, or `*`.

    Example:
      >>> ours, mask = {"w": np.array([1.0, 1.01, 2.0])}, {"w": np.array([False, True, True])}
      >>> theirs, other = {"w": np.array([1.01, 1.0, 2.0])}, {"w": np.array([True, False, True])}
      >>> unexplained("layerwise", ours, mask, theirs, other)
      []
      >>> unexplained("layerwise", ours, mask, ours, other)
      ['w']
    """
    groups = {"*": list(mask)} if scope == "global" else {path: [path] for path in mask}
    found = []
    for name, paths in groups.items():
        one, other, kept, theirs = (
            np.concatenate([tree[path].ravel() for path in paths])
            for tree in (weights, others, mask, their)
        )
        one, other = np.abs(one), np.abs(other)
        distance = np.abs(one[kept != theirs] - one[kept].min())
        if distance.size and not distance.max() <= 2 * np.abs(one - other).max():
            found.append(name)
    return found
