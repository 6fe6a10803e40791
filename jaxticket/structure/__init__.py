"""Structure of traced networks: removable units, smaller networks, what layers are given."""

from jaxticket.structure.compaction import Compacted, compact
from jaxticket.structure.graph import Graph, Group, Member, trace
from jaxticket.structure.inputs import layer_inputs
from jaxticket.structure.units import all_units, choose, kept_of, mask_of, score_units, zeroed

__all__ = [
    "Compacted",
    "Graph",
    "Group",
    "Member",
    "all_units",
    "choose",
    "compact",
    "kept_of",
    "layer_inputs",
    "mask_of",
    "score_units",
    "trace",
    "zeroed",
]
