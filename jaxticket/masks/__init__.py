"""Mask pytrees: which weights are kept.

A mask has the params' structure, with a `bool` leaf (True = kept) where the leaf is prunable
and `None` where it is not. So a mask describes itself: `density` counts what is prunable and
nothing else. When mapping over both, params go first: `jax.tree.map(f, params, mask)`.
"""

from jaxticket.masks.basic import (
    apply,
    counts,
    density,
    ones,
    shuffle,
    sizes,
)
from jaxticket.masks.check import check
from jaxticket.masks.compare import intersect, is_subset, overlap
from jaxticket.masks.packing import compress, expand, pack, unpack
from jaxticket.masks.prunable import (
    LAYERWISE_2019,
    all_but_output,
    excluding,
    kernels,
    matching,
    path_string,
)
from jaxticket.masks.selection import first_highest
from jaxticket.masks.summary import LayerSummary, summary

__all__ = [
    "LAYERWISE_2019",
    "LayerSummary",
    "all_but_output",
    "apply",
    "check",
    "compress",
    "counts",
    "density",
    "excluding",
    "expand",
    "first_highest",
    "intersect",
    "is_subset",
    "kernels",
    "matching",
    "ones",
    "overlap",
    "pack",
    "path_string",
    "shuffle",
    "sizes",
    "summary",
    "unpack",
]
