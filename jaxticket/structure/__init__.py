"""Structure of traced networks: removable units, smaller networks, what layers are given."""

from jaxticket.structure.choosing import choose, kept_of
from jaxticket.structure.compaction import Compacted, compact
from jaxticket.structure.graph import Graph, Group, Member, trace
from jaxticket.structure.inputs import layer_inputs
from jaxticket.structure.multiplications import multiplications
from jaxticket.structure.sparse import from_bcoo, to_bcoo
from jaxticket.structure.units import Kept, all_units, mask_of, score_units, units_kept, zeroed

__all__ = [
    "Compacted",
    "Graph",
    "Group",
    "Kept",
    "Member",
    "all_units",
    "choose",
    "compact",
    "from_bcoo",
    "kept_of",
    "layer_inputs",
    "mask_of",
    "multiplications",
    "score_units",
    "to_bcoo",
    "trace",
    "units_kept",
    "zeroed",
]
