"""A function of one network over axis 0: map, vmap, or a mesh of devices with either inside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxticket.errors import TicketError
from jaxticket.population.plan import Plan


def populate(
    function: Callable[..., Any], plan: Plan, *, donate: bool = False
) -> Callable[..., Any]:
    """Makes a function of one network a compiled function of a population.

    Args:
      function: `function(network, *shared) -> outputs`, pure.
      plan: how it runs.
      donate: whether the networks' buffers may be reused for the outputs.

    Returns:
      `run(networks, *shared)`: each leaf of `networks` and of the outputs has the population
      as axis 0, of a size that `plan.devices` divides; `shared` is given to every network.

    Raises:
      TicketError: from `run`, if the devices do not divide the population.

    Example:
      >>> import jax.numpy as jnp
      >>> double = populate(lambda x, factor: x * factor, Plan("map"))
      >>> double(jnp.arange(3.0), 2.0).tolist()
      [0.0, 2.0, 4.0]
    """

    def inside(networks: Any, *shared: Any) -> Any:
        if plan.inside == "vmap":
            return jax.vmap(lambda network: function(network, *shared))(networks)
        return jax.lax.map(lambda network: function(network, *shared), networks)

    donated = (0,) if donate else ()
    if plan.devices == 1:
        return jax.jit(inside, donate_argnums=donated)
    return functools.partial(_run_sharded, _sharded(inside, plan, donated), plan)


def share(tree: Any, plan: Plan) -> Any:
    """Puts what all networks share (the data) on every device of the plan, once.

    Args:
      tree: arrays.
      plan: how the population runs.

    Returns:
      The same arrays, replicated over the plan's devices.

    Example:
      >>> import numpy as np
      >>> share(np.arange(3), Plan("map")).tolist()
      [0, 1, 2]
    """
    if plan.devices == 1:
        # Not bound to the device by name: outputs would be too, and the next call of the same
        # function, which takes them as inputs, would compile it a second time.
        return jax.device_put(tree)
    return jax.device_put(tree, NamedSharding(_mesh(plan.devices), PartitionSpec()))


@functools.cache
def _mesh(devices: int) -> jax.sharding.Mesh:
    # Automatic axes: with explicit ones an index into a sharded result is an error.
    return jax.make_mesh(
        (devices,),
        ("ticket",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )


def _sharded(inside: Callable[..., Any], plan: Plan, donated: tuple[int, ...]) -> Any:
    along = PartitionSpec("ticket")

    def over_devices(networks: Any, shared: tuple[Any, ...]) -> Any:
        return jax.shard_map(
            lambda n, s: inside(n, *s),
            mesh=_mesh(plan.devices),
            in_specs=(along, PartitionSpec()),
            out_specs=along,
            check_vma=False,
        )(networks, shared)

    return jax.jit(over_devices, donate_argnums=donated)


def _run_sharded(compiled: Any, plan: Plan, networks: Any, *shared: Any) -> Any:
    size = jax.tree.leaves(networks)[0].shape[0]
    if size % plan.devices:
        raise TicketError(
            f"population: got {size} networks for {plan.devices} devices, expected a multiple; "
            f"pad it to {plan.padded(size)} with population.pad"
        )
    mesh = _mesh(plan.devices)
    networks = jax.device_put(networks, NamedSharding(mesh, PartitionSpec("ticket")))
    return compiled(networks, jax.device_put(shared, NamedSharding(mesh, PartitionSpec())))
