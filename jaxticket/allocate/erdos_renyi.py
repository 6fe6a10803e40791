"""Erdős–Rényi budgets: the larger a layer, the sparser."""

import math
from fractions import Fraction

from jaxticket.allocate.base import Allocation
from jaxticket.allocate.proportional import proportional
from jaxticket.allocate.rates import Rate
from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask


def erdos_renyi(rate: Rate, *, kernel: bool = True) -> Allocation:
    """Gives every layer the density of a sparse random graph: d_l ∝ (n_in + n_out) / (n_in n_out).

    The last two axes of a leaf are its inputs and outputs, as in all kernels of Flax; the axes
    before are those of a convolution's kernel. With `kernel` (ERK) these count like units,
    d_l ∝ (n_in + n_out + h + w) / (n_in n_out h w); without it (ER) they do not. Layers that
    would be more than dense are kept dense, and the others scaled. Counts are exact, by largest
    remainders.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on: of the network, not of a layer.
      kernel: whether a convolution's kernel counts.

    Returns:
      The allocation; its counts are by leaf path.

    Raises:
      TicketError: for a rate outside (0, 1); later, when a schedule is made, for leaves of fewer
        than two axes.

    Example:
      >>> import numpy as np
      >>> mask = {"a": np.ones((300, 100), bool), "b": np.ones((100, 10), bool)}
      >>> erdos_renyi((0.1,)).schedule(mask, 2)[1]  # 400 : 110
      {'a': 2431, 'b': 669}

    Source: 1707.04780 (SET, the layers' densities; unverified section); 1911.11134, section 3
    (ERK, and layers that stay dense; unverified section).
    """

    def factors(mask: Mask) -> dict[str, Fraction]:
        shapes = {path: leaf.shape for path, leaf in leaves_by_path(mask)}
        flat = [path for path, shape in shapes.items() if len(shape) < 2]
        if flat:
            raise TicketError(
                f"erdos_renyi: got {', '.join(flat)} of fewer than two axes, expected inputs and "
                "outputs; leave such leaves out of what is prunable"
            )
        counted = {path: shape if kernel else shape[-2:] for path, shape in shapes.items()}
        return {
            path: Fraction(sum(axes), max(math.prod(axes), 1)) for path, axes in counted.items()
        }

    return proportional(rate, factors)
