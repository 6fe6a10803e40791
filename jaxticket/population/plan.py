"""How a population runs on this machine: one plan object, chosen in one place."""

import contextlib
import dataclasses
import math
import os
from typing import Literal

import jax

from jaxticket.errors import TicketError, unknown
from jaxticket.population import hosts

Inside = Literal["map", "vmap"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a population runs on this machine. Its results do not depend on it.

    Bitwise so for `map` on any number of devices; to float tolerance for `vmap`, whose batched
    matrix products may add in another order, and where several devices share a batch.

    Attributes:
      inside: how the networks of one device run, `map` or `vmap`.
      devices: over how many devices the population is shared out.
      chunk: networks that are trained at a time; `None` leaves it to the caller.
      batch: networks of one device that `vmap` batches at a time, batch after batch; `None`
        for all of them.
      batch_devices: over how many devices the examples of each network's batches are shared out,
        for networks that are too large for one, or fewer than there are devices. There are as
        many for each of `devices`.
      reason: why this plan was chosen.
    """

    inside: Inside
    devices: int = 1
    chunk: int | None = None
    batch: int | None = None
    batch_devices: int = 1
    reason: str = "given"

    def __post_init__(self) -> None:
        """Checks that the plan can run here."""
        if self.inside not in ("map", "vmap"):
            raise unknown("strategy", self.inside, ("map", "vmap"))
        available = jax.device_count()
        if min(self.devices, self.batch_devices) < 1 or self.all_devices > available:
            each = "" if self.batch_devices == 1 else f" with {self.batch_devices} for each batch"
            raise TicketError(
                f"plan: got {self.devices} devices{each}, expected 1 to {available} in all, what "
                "JAX sees here; on a CPU set jax_num_cpu_devices before the first computation"
            )
        for name, size in (("chunk", self.chunk), ("batch", self.batch)):
            if size is not None and size < 1:
                raise TicketError(f"plan: got {name} {size}, expected at least 1")
        if self.inside == "map" and self.batch is not None:
            raise TicketError(
                f"plan: got batch {self.batch} for map, which runs networks one by one; choose vmap"
            )

    @property
    def all_devices(self) -> int:
        """Counts the devices that the plan uses."""
        return self.devices * self.batch_devices

    @classmethod
    def auto(cls, population: int | None = None) -> "Plan":
        """Chooses by platform and population: on CPUs `map`, elsewhere `vmap`, on all devices.

        A single network on a CPU runs on one device, since its operations then use all cores,
        which a second network would have to itself. A batch is never shared out: on what
        networks that pays has not been measured on accelerators, so it is to be asked for.

        Args:
          population: the most networks that there will be at a time, if known.

        Returns:
          The plan.

        Example:
          >>> Plan.auto().inside, Plan.auto(population=1).devices
          ('map', 1)
        """
        platform, devices = jax.default_backend(), jax.device_count()
        if platform == "cpu" and population == 1 and jax.process_count() == 1:
            return cls("map", reason="a single network, whose operations use all cores")
        inside: Inside = "map" if platform == "cpu" else "vmap"
        what = "one after the other" if inside == "map" else "batched"
        return cls(inside, devices, reason=f"{platform} x {devices}: networks {what} on each")

    @classmethod
    def by_name(cls, name: str, population: int | None = None) -> "Plan":
        """Makes a plan from the name that a command line gives.

        | name | devices | inside each |
        | --- | --- | --- |
        | auto | by `Plan.auto` | by platform |
        | map, vmap | one | one network after the other, or all batched |
        | chunked | one | batches of 8 |
        | mesh, mesh_vmap, mesh_chunked | all | as map, vmap and chunked |
        | mesh_batch | all for every network | one after the other, its batches shared out |

        Args:
          name: one of `PLANS`.
          population: for auto; the most networks that there will be at a time.

        Returns:
          The plan.

        Raises:
          TicketError: for another name.

        Example:
          >>> Plan.by_name("chunked").batch
          8
        """
        check_plan_name(name)
        if name == "auto":
            return cls.auto(population)
        if name == "mesh_batch":
            return cls("map", batch_devices=jax.device_count(), reason=f"plan {name}")
        devices = jax.device_count() if name.startswith("mesh") else 1
        inside: Inside = "map" if name in ("map", "mesh") else "vmap"
        batch = 8 if name.endswith("chunked") else None
        return cls(inside, devices, batch=batch, reason=f"plan {name}")

    def __str__(self) -> str:
        """Says in one line what runs how, and why."""
        batch = "" if self.batch is None else f" of {self.batch}"
        chunk = "" if self.chunk is None else f", {self.chunk} at a time"
        shared = f" x {self.batch_devices} for each batch" if self.batch_devices > 1 else ""
        devices = f"{self.devices} device(s){shared}"
        return f"{self.inside}{batch} on {devices}{chunk} ({self.reason})"

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
        stats = hosts.once(lambda: jax.local_devices()[0].memory_stats() or {})
        memory = stats.get("bytes_limit")
        if self.inside == "map" or memory is None:
            return self.padded(replicates)
        return max(1, int(memory * 0.5 / (8 * state_bytes))) * self.devices


PLANS = ("auto", "map", "vmap", "chunked", "mesh", "mesh_vmap", "mesh_chunked", "mesh_batch")
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
    process where JAX has started already (a notebook, a test) the devices stay as they are, and
    so they do where the environment's `JAX_NUM_CPU_DEVICES` says how many there are.

    Args:
      name: the plan's name; those on one device leave the cores to JAX's own threads.
    """
    if name.startswith(("auto", "mesh")) and "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", _cores())


def _cores() -> int:
    # Only Linux tells how many cores this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
