"""How a population runs on this machine: one plan object, chosen in one place."""

import contextlib
import dataclasses
import math
import os
from typing import Literal

import jax

from jaxticket.errors import TicketError, unknown

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


def _cores() -> int:
    # Only Linux tells how many cores this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
