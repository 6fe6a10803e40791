"""A table of what a mask keeps, layer by layer."""

from typing import NamedTuple

from jaxticket.masks.basic import counts, sizes
from jaxticket.types import Mask


class LayerSummary(NamedTuple):
    """One row of `summary`."""

    path: str
    kept: int
    size: int

    @property
    def density(self) -> float:
        """Fraction kept, 1 of a leaf without weights, which lacks none."""
        return self.kept / self.size if self.size else 1.0


class Summary(tuple[LayerSummary, ...]):
    """Rows of a mask's table, the last one the total; prints as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        """Lays the rows out in aligned columns."""
        width = max(len("layer"), *(len(row.path) for row in self))
        lines = [f"{'layer':<{width}} {'kept':>10} {'of':>10} {'density':>8}"]
        lines += [
            f"{row.path:<{width}} {row.kept:>10,} {row.size:>10,} {row.density:>8.2%}"
            for row in self
        ]
        return "\n".join(lines)


def summary(mask: Mask) -> Summary:
    """Summarises a mask by layer.

    Args:
      mask: concrete `bool` leaves.

    Returns:
      A tuple of rows, one a prunable leaf and a last one for the total, that prints as a table.

    Example:
      >>> import numpy as np
      >>> print(summary({"hidden": {"kernel": np.array([[True, False]]), "bias": None}}))
      layer               kept         of  density
      hidden/kernel          1          2   50.00%
      total                  1          2   50.00%
    """
    kept, size = counts(mask), sizes(mask)
    rows = [LayerSummary(path, kept[path], size[path]) for path in kept]
    return Summary((*rows, LayerSummary("total", sum(kept.values()), sum(size.values()))))
