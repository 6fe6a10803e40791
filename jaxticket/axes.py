"""The axes of a mesh of devices: the networks of a population, and the examples of a batch."""

from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

TICKET = "ticket"
"""Along it every device has networks of its own."""
BATCH = "batch"
"""Along it devices have the same networks, and share out the examples of each."""


def share_out(examples: Any) -> Any:
    """Shares a batch out over the devices that have its network, if there are several.

    Only where things are computed changes: XLA adds up over the devices what a step sums over
    examples, so results are equal to float tolerance.

    Args:
      examples: arrays with the examples as axis 0.

    Returns:
      The same arrays; outside of a mesh with a batch axis these very ones.

    Example:
      >>> share_out(jax.numpy.arange(3)).tolist()
      [0, 1, 2]
    """
    mesh = jax.sharding.get_abstract_mesh()
    if dict(zip(mesh.axis_names, mesh.axis_types, strict=True)).get(BATCH) != AxisType.Auto:
        return examples
    return jax.lax.with_sharding_constraint(examples, PartitionSpec(BATCH))
