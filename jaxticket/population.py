"""Many networks: how a function of one network runs over axis 0, and what with.

The strategies in one place: `map` (one after the other), `vmap` (all at once), and `mesh`
(shared out over devices, either of them inside). On a CPU one device a core with `map` inside
is fastest, because each core then keeps its own network in its cache.
"""

import contextlib
import dataclasses
import functools
import math
import operator
import os
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxticket.errors import TicketError, unknown
from jaxticket.keys import is_typed_key

Inside = Literal["map", "vmap"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a population runs on this machine. Its results do not depend on it.

    Bitwise so for `map` on any number of devices; to float tolerance for `vmap`, whose batched
    matrix products may add in another order.

    Attributes:
      inside: how the networks of one device run, `map` or `vmap`.
      devices: over how many devices the population is shared out.
      chunk: networks that are trained at a time; `None` leaves it to the caller.
      reason: why this plan was chosen.
    """

    inside: Inside
    devices: int = 1
    chunk: int | None = None
    reason: str = "given"

    def __post_init__(self) -> None:
        """Checks that the plan can run here."""
        if self.inside not in ("map", "vmap"):
            raise unknown("strategy", self.inside, ("map", "vmap"))
        available = jax.device_count()
        if not 1 <= self.devices <= available:
            raise TicketError(
                f"plan: got {self.devices} devices, expected 1 to {available}, what JAX sees here; "
                "on a CPU set jax_num_cpu_devices before the first computation"
            )
        if self.chunk is not None and self.chunk < 1:
            raise TicketError(f"plan: got chunk {self.chunk}, expected at least 1")

    @classmethod
    def auto(cls) -> "Plan":
        """Chooses by the platform: `map` inside on CPUs, `vmap` elsewhere, all devices.

        Returns:
          The plan.

        Example:
          >>> Plan.auto().inside
          'map'
        """
        platform, devices = jax.default_backend(), jax.device_count()
        inside: Inside = "map" if platform == "cpu" else "vmap"
        what = "one after the other" if inside == "map" else "batched"
        return cls(inside, devices, reason=f"{platform} x {devices}: networks {what} on each")

    @classmethod
    def by_name(cls, name: str) -> "Plan":
        """Makes a plan from the name that a command line gives.

        Args:
          name: `auto`; `map` or `vmap` on one device; `mesh`, all devices.

        Returns:
          The plan.

        Raises:
          TicketError: for another name.

        Example:
          >>> Plan.by_name("vmap").devices
          1
        """
        check_plan_name(name)
        if name == "map" or name == "vmap":
            return cls(name, reason=f"plan {name}")
        return cls.auto()

    def __str__(self) -> str:
        """Says in one line what runs how, and why."""
        chunk = "" if self.chunk is None else f", {self.chunk} at a time"
        return f"{self.inside} on {self.devices} device(s){chunk} ({self.reason})"

    def padded(self, size: int) -> int:
        """Rounds a population up to what the devices share out evenly.

        Args:
          size: number of networks.

        Returns:
          The next multiple of `devices`.

        Example:
          >>> Plan("map", devices=1).padded(5)
          5
        """
        return math.ceil(size / self.devices) * self.devices

    def control_chunk(self, replicates: int, state_bytes: int) -> int:
        """Chooses how many control networks train at a time.

        On a CPU as many as the ticket has replicates, so that one compilation serves both. On
        an accelerator as many as fill half of its memory, at eight times the bytes of a state
        (params, moments, gradients, activations and their copies).

        Args:
          replicates: networks at each level of the ticket.
          state_bytes: bytes of one network's training state.

        Returns:
          Number of networks, a multiple of `devices`.
        """
        if self.chunk is not None:
            return self.padded(self.chunk)
        memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        if self.inside == "map" or memory is None:
            return self.padded(replicates)
        return max(1, int(memory * 0.5 / (8 * state_bytes))) * self.devices


PLANS = ("auto", "map", "vmap", "mesh")
"""Names that `Plan.by_name` understands."""


def check_plan_name(name: str) -> None:
    """Checks the name of a plan, without starting JAX's backend.

    Args:
      name: one of `PLANS`.

    Raises:
      TicketError: for another one.
    """
    if name not in PLANS:
        raise unknown("plan", name, PLANS)


def use_all_cores(name: str = "auto") -> None:
    """Makes one CPU device a core, if a plan of that name wants them.

    To be called once by an entry point before JAX starts its backend, never at import. In a
    process where JAX has started already (a notebook, a test) the devices stay as they are.

    Args:
      name: the plan's name; `map` and `vmap` use one device, and JAX's own threads the cores.
    """
    if name in ("auto", "mesh"):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", _cores())


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
      >>> share(np.arange(3), Plan("map")).tolist()
      [0, 1, 2]
    """
    if plan.devices == 1:
        # Not bound to the device by name: outputs would be too, and the next call of the same
        # function, which takes them as inputs, would compile it a second time.
        return jax.device_put(tree)
    return jax.device_put(tree, NamedSharding(_mesh(plan.devices), PartitionSpec()))


def pad(tree: Any, size: int) -> Any:
    """Fills a population up to `size` by repeating its networks from the first on.

    Args:
      tree: leaves with the population as axis 0, not empty.
      size: the wanted size, at least the present one.

    Returns:
      The padded tree.

    Example:
      >>> pad(jnp.array([1, 2, 3]), 5).tolist()
      [1, 2, 3, 1, 2]
    """
    return jax.tree.map(lambda leaf: leaf[np.arange(size) % leaf.shape[0]], tree)


def in_pieces(tree: Any, size: int) -> list[Any]:
    """Cuts a population into pieces of at most `size` networks.

    Args:
      tree: leaves with the population as axis 0.
      size: networks a piece.

    Returns:
      The pieces in order, the last one perhaps smaller.

    Example:
      >>> [piece.tolist() for piece in in_pieces(np.arange(5), 2)]
      [[0, 1], [2, 3], [4]]
    """
    number = jax.tree.leaves(tree)[0].shape[0]
    if number <= size:
        return [tree]
    bounds = [slice(first, first + size) for first in range(0, number, size)]
    return [jax.tree.map(operator.itemgetter(bound), tree) for bound in bounds]


def join(pieces: list[Any]) -> Any:
    """Puts pieces of a population on the host together again along axis 0.

    Args:
      pieces: trees of NumPy arrays and typed keys, of one structure.

    Returns:
      One tree.

    Example:
      >>> join([np.array([0, 1]), np.array([2])]).tolist()
      [0, 1, 2]
    """
    if len(pieces) == 1:
        return pieces[0]
    # NumPy has no typed keys.
    together = lambda *leaves: (  # noqa: E731
        np.concatenate(leaves) if isinstance(leaves[0], np.ndarray) else jnp.concatenate(leaves)
    )
    return jax.tree.map(together, *pieces)


def over(function: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
    """Makes a populated function take any number of networks, on the host.

    Args:
      function: from `populate`, with nothing shared.
      size: networks it runs at a time, a multiple of the plan's devices.

    Returns:
      A function that cuts, pads, runs, drops the padding and joins.

    Example:
      >>> over(populate(lambda x: x + 1, Plan("map")), 2)(np.arange(3)).tolist()
      [1, 2, 3]
    """

    def run_piece(piece: Any) -> Any:
        number = jax.tree.leaves(piece)[0].shape[0]
        outputs = to_host(function(pad(piece, size)))
        return jax.tree.map(operator.itemgetter(slice(number)), outputs)

    return lambda networks: join([run_piece(piece) for piece in in_pieces(networks, size)])


def to_host(tree: Any) -> Any:
    """Copies a tree to the host as NumPy arrays; typed keys stay as they are.

    Args:
      tree: arrays, sharded or not.

    Returns:
      The tree on the host.

    Example:
      >>> type(to_host({"w": jnp.ones(2)})["w"]).__name__
      'ndarray'
    """
    return jax.tree.map(_leaf_to_host, tree)


def _cores() -> int:
    # Only Linux tells how many cores this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _leaf_to_host(leaf: Any) -> Any:
    if is_typed_key(leaf):
        data = np.asarray(jax.device_get(jax.random.key_data(leaf)))
        return jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(leaf))
    return np.asarray(jax.device_get(leaf))


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
