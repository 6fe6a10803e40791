"""Smart ratios: the deeper a layer, the sparser."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from jaxticket.allocate.base import Allocation
from jaxticket.allocate.proportional import proportional
from jaxticket.allocate.rates import Rate
from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask


def smart_ratio(
    rate: Rate,
    *,
    layers: Sequence[str] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Allocation:
    """Gives layer l of L a density that falls with its depth: d_l ∝ (L − l + 1)² + (L − l + 1).

    The authors keep linear layers at a density of their own, 0.3 (unverified): ask for it with
    `fixed={"output/*": 0.3}`; such layers still count in l and L. Their code also divides by l²
    for networks other than ResNets (unverified), which the formula does not, and neither does
    this. Layers that would be more than dense are kept dense, and the others scaled. Counts are
    exact, by largest remainders.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on: of the network, not of a layer.
      layers: paths of all prunable leaves from input to output; `None` for the order of the
        leaves, which is that in all networks of `jaxticket.models`.
      fixed: densities of layers that take no part, by shell-style pattern of the leaf's path.

    Returns:
      The allocation; its counts are by leaf path.

    Raises:
      TicketError: for a rate or a density outside (0, 1); later, when a schedule is made, for
        `layers` that are not the prunable leaves.

    Example:
      >>> import numpy as np
      >>> mask = {"hidden": np.ones(100, bool), "output": np.ones(100, bool)}
      >>> smart_ratio((0.2,)).schedule(mask, 2)[1]  # 6 : 2
      {'hidden': 30, 'output': 10}

    Source: 2009.11094, section 5 (unverified).
    """

    def factors(mask: Mask) -> dict[str, Fraction]:
        paths = [path for path, _ in leaves_by_path(mask)]
        order = paths if layers is None else list(layers)
        if sorted(order) != sorted(paths):
            raise TicketError(
                f"smart_ratio: got layers {order}, expected each prunable leaf once: {paths}"
            )
        return {path: Fraction(k**2 + k) for k, path in enumerate(reversed(order), start=1)}

    return proportional(rate, factors, fixed)
