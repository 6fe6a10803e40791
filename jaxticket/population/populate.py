"""A function of one network over axis 0: map, vmap, or a mesh of devices with either inside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxticket import axes
from jaxticket.errors import TicketError
from jaxticket.population import hosts
from jaxticket.population.plan import Plan
from jaxticket.population.programs import Programs


def populate(
    function: Callable[..., Any],
    plan: Plan,
    *,
    donate: bool = False,
    fed: int = 0,
    compile_fast: bool = False,
) -> Callable[..., Any]:
    """Makes a function of one network a compiled function of a population.

    Args:
      function: `function(network, *fed, *shared) -> outputs`, pure.
      plan: how it runs.
      donate: whether the networks' buffers may be reused for the outputs.
      fed: how many arguments after the networks are theirs one by one too; never donated.
      compile_fast: whether it runs so seldom that compiling it fast matters more than running it
        fast. Sums may then differ in their last bit.

    Returns:
      `run(networks, *fed, *shared, number=None)`: each leaf of `networks`, of what is fed and of
      the outputs has the population as axis 0, of a size that `plan.devices` divides; `shared`
      is given to every network. Only the first `number` networks are sure to be computed, all
      if `None`: what pads a population costs nothing under `map`, and is to be dropped.

    Raises:
      TicketError: from `run`, if the devices do not divide the population.
      MemoryLimitError: from `run`, if the devices have no memory for so many networks.

    Example:
      >>> import jax.numpy as jnp
      >>> double = populate(lambda x, factor: x * factor, Plan("map"))
      >>> double(jnp.arange(3.0), 2.0).tolist()
      [0.0, 2.0, 4.0]
    """

    def inside(number: jax.Array, networks: Any, *others: Any) -> Any:
        own, shared = (networks, *others[:fed]), others[fed:]
        one = lambda own: function(*own, *shared)  # noqa: E731
        here = jax.tree.leaves(networks)[0].shape[0]
        if plan.inside == "map":
            first = 0 if plan.devices == 1 else here * jax.lax.axis_index(axes.TICKET)
            return one_by_one(one, own, jnp.clip(number - first, 0, here), donate)
        if plan.batch is None or here <= plan.batch:
            return jax.vmap(one)(own)
        return jax.lax.map(one, own, batch_size=plan.batch)

    over_all = inside if plan.all_devices == 1 else _sharded(inside, plan, fed)
    # So that profiles and JAX's own messages tell one program from another.
    over_all.__name__ = getattr(function, "__name__", "population")
    jitted = jax.jit(over_all, donate_argnums=(1,) if donate else ())
    return functools.partial(_run, Programs(jitted, plan, 2 + fed, compile_fast), plan, fed)


def one_by_one(
    function: Callable[[Any], Any], own: Any, number: jax.Array, in_place: bool = False
) -> Any:
    """Computes networks one after the other, each to the bit as it would be alone.

    As `jax.lax.map`, except that how many there are is known only when it runs. XLA takes a
    loop of a known single pass apart and may then round otherwise.

    Args:
      function: of `own` of one network.
      own: a tuple of trees with the population as axis 0, the networks first.
      number: `int32[]`, how many are computed, from the first on.
      in_place: whether the outputs, of the networks' own shapes, take their place in memory.

    Returns:
      The outputs along axis 0; those past `number` mean nothing.

    Example:
      >>> one_by_one(lambda own: own[0] + 1, (jnp.arange(3),), jnp.int32(2)).tolist()
      [1, 2, 0]
    """
    take = lambda tree, i: jax.tree.map(lambda leaf: leaf[i], tree)  # noqa: E731
    size = jax.tree.leaves(own)[0].shape[0]
    like = jax.eval_shape(lambda: function(take(own, 0)))
    networks, fed = own[0], own[1:]
    if not (in_place and jax.tree.structure(like) == jax.tree.structure(networks)):
        outputs = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), like)
        return jax.lax.fori_loop(
            0, number, lambda i, outputs: _put(outputs, i, function(take(own, i))), outputs
        )
    return jax.lax.fori_loop(
        0,
        number,
        lambda i, networks: _put(networks, i, function((take(networks, i), *take(fed, i)))),
        networks,
    )


def _put(population: Any, index: jax.Array, network: Any) -> Any:
    put = lambda all, one: jax.lax.dynamic_update_index_in_dim(all, one, index, 0)  # noqa: E731
    return jax.tree.map(put, population, network)


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
    if plan.all_devices == 1:
        # Not bound to the device by name: outputs would be too, and the next call of the same
        # function, which takes them as inputs, would compile it a second time.
        return jax.device_put(tree)
    return hosts.place(tree, NamedSharding(_mesh(plan), PartitionSpec()))


def spread(tree: Any, plan: Plan) -> Any:
    """Begins to copy what networks are fed to the devices that they are on, and does not wait.

    Args:
      tree: arrays with the population as axis 0.
      plan: how the population runs.

    Returns:
      The same arrays, shared out over the plan's devices.

    Example:
      >>> import numpy as np
      >>> spread(np.arange(3), Plan("map")).tolist()
      [0, 1, 2]
    """
    if plan.all_devices == 1:  # as in `share`
        return jax.device_put(tree)
    return hosts.place(tree, NamedSharding(_mesh(plan), PartitionSpec(axes.TICKET)))


@functools.cache
def _mesh(plan: Plan) -> jax.sharding.Mesh:
    number = plan.all_devices
    if hosts.several() and number < jax.device_count():
        raise TicketError(
            f"plan: got {number} devices, expected all {jax.device_count()} of the "
            f"{jax.process_count()} processes; use Plan.auto() on several hosts"
        )
    # The batch last: JAX lists the devices of a host together, and they exchange the most.
    sizes = {axes.TICKET: plan.devices}
    if plan.batch_devices > 1:
        sizes[axes.BATCH] = plan.batch_devices
    # Automatic axes: with explicit ones an index into a sharded result is an error.
    return jax.make_mesh(
        tuple(sizes.values()),
        tuple(sizes),
        axis_types=(jax.sharding.AxisType.Auto,) * len(sizes),
        devices=jax.devices()[:number],
    )


def _sharded(inside: Callable[..., Any], plan: Plan, fed: int) -> Callable[..., Any]:
    along, all_of_it = PartitionSpec(axes.TICKET), PartitionSpec()

    def over_devices(number: jax.Array, networks: Any, *others: Any) -> Any:
        of_others = (along if place < fed else all_of_it for place in range(len(others)))
        return jax.shard_map(
            inside,
            mesh=_mesh(plan),
            # The batch axis is left to XLA, which adds up over it what sums over examples.
            axis_names={axes.TICKET},
            in_specs=(all_of_it, along, *of_others),
            out_specs=along,
            check_vma=False,
        )(number, networks, *others)

    return over_devices


def _run(
    programs: Programs,
    plan: Plan,
    fed: int,
    networks: Any,
    *others: Any,
    number: int | None = None,
) -> Any:
    size = jax.tree.leaves(networks)[0].shape[0]
    if size % plan.devices:
        raise TicketError(
            f"population: got {size} networks for {plan.devices} devices, expected a multiple; "
            f"pad it to {plan.padded(size)} with population.pad"
        )
    count = np.int32(size if number is None else number)
    if plan.all_devices == 1:
        return programs(count, networks, *others)
    own, shared = (networks, *others[:fed]), others[fed:]
    return programs(share(count, plan), *spread(own, plan), *share(shared, plan))
