"""N:M sparsity: the same number of weights in every small group, as some hardware wants it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Integral

import numpy as np

from jaxticket.allocate.base import Allocation, Counts
from jaxticket.allocate.groups import block_shape, select_in_groups, to_groups
from jaxticket.allocate.leaves import by_path
from jaxticket.errors import MaskError, TicketError
from jaxticket.masks.basic import counts as mask_counts
from jaxticket.masks.basic import leaves_by_path, sizes
from jaxticket.types import Mask


def n_of_m(n: int | Sequence[int], m: int, axis: int | Mapping[str, int] = -2) -> Allocation:
    """Keeps exactly n of every m consecutive weights along an axis of each leaf.

    Level 1 keeps n of m. More levels need falling numbers, such as `(3, 2, 1)`: level i keeps the
    i-th of them, out of what the level before kept in the same group.

    Args:
      n: weights kept in each group, 1 to m − 1; or one number a level, from level 1 on.
      m: weights in a group, at least 2.
      axis: along which groups lie, or axes by shell-style pattern of the leaf's path, the last
        pattern that matches counts. −2 is that of the inputs of Flax's kernels, over which a
        matrix product sums, which is what hardware for 2:4 needs.

    Returns:
      The allocation; its counts are by leaf path.

    Raises:
      TicketError: for numbers that do not fall or lie outside 1 to m − 1; later, when a schedule
        is made, for more levels than numbers, an axis that a leaf does not have, and an axis that
        m does not divide, naming the leaf and the axis.
      MaskError: when a schedule is made, for a mask with fewer than n weights in a group.

    Example:
      >>> import jax.numpy as jnp
      >>> scores = {"kernel": jnp.array([[4.0], [1.0], [3.0], [2.0]])}
      >>> allocation = n_of_m(2, 4)
      >>> counts = allocation.schedule({"kernel": np.ones((4, 1), bool)}, 2)[1]
      >>> allocation.select(scores, {"kernel": jnp.ones((4, 1), bool)}, counts)["kernel"][:, 0]
      Array([ True, False,  True, False], dtype=bool)

    Source: 2:4 is 2104.08378, section 3 (unverified).
    """
    numbers = tuple(n) if isinstance(n, Sequence) else (n,)
    if not all(isinstance(number, Integral) for number in (*numbers, m)):
        raise TicketError(f"n_of_m: got {n!r} of {m!r}, expected whole numbers")
    if not numbers or not all(a > b for a, b in pairwise((m, *numbers, 0))):
        raise TicketError(
            f"n_of_m: got {n} of {m}, expected numbers between 1 and {m - 1}, each below the one "
            "before"
        )

    def blocks_of(mask: Mask) -> dict[str, tuple[int, ...]]:
        shapes = {path: leaf.shape for path, leaf in leaves_by_path(mask)}
        axes = by_path("axes", {"*": axis} if isinstance(axis, int) else axis, shapes)
        return {path: _block(path, shape, m, axes[path]) for path, shape in shapes.items()}

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        if levels > len(numbers) + 1:
            raise TicketError(
                f"n_of_m: got {levels} levels, expected at most {len(numbers) + 1}: level 1 keeps "
                f"{numbers[0]} of {m}, and every further level needs a number of its own, such as "
                f"{(m - 1, *range(m - 2, 0, -1))}"
            )
        _check_groups(mask, blocks_of(mask), numbers[0])
        groups = {path: size // m for path, size in sizes(mask).items()}
        following = [{path: k * g for path, g in groups.items()} for k in numbers[: levels - 1]]
        return [mask_counts(mask), *following]

    return Allocation(schedule, select_in_groups(blocks_of))


def _block(path: str, shape: tuple[int, ...], m: int, axis: int) -> tuple[int, ...]:
    if not -len(shape) <= axis < len(shape):
        raise TicketError(f"n_of_m: got axis {axis} for {path}, which has shape {shape}")
    block = [1] * len(shape)
    block[axis] = m
    return block_shape("n_of_m", path, shape, block)


def _check_groups(mask: Mask, blocks: Mapping[str, tuple[int, ...]], n: int) -> None:
    groups = {p: to_groups(np.asarray(leaf), blocks[p]) for p, leaf in leaves_by_path(mask)}
    short = [path for path, kept in groups.items() if (kept.sum(axis=1) < n).any()]
    if short:
        raise MaskError(
            f"n_of_m: got a mask with fewer than {n} weights in a group of {', '.join(short)}; "
            "begin with the dense mask"
        )
