"""The first moments of several processes: the port that they meet at, devices, names."""

import collections
import contextlib
import os
import socket
import sys
from collections.abc import Generator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxticket.errors import TicketError
from jaxticket.population import hosts


def check_free(coordinator: str) -> None:
    """Checks that process 0 can use the coordinator's port; JAX crashes on one that is taken.

    Args:
      coordinator: `host:port`.

    Raises:
      TicketError: if not.
    """
    port = int(coordinator.rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise TicketError(
                f"--coordinator: port {port} cannot be used here ({error.strerror}); give another "
                "to every process"
            ) from None


def meet() -> list[str]:
    """Starts the backend in all processes at the same time.

    Returns:
      The names of their hosts, one a process.

    Raises:
      TicketError: if they have different numbers of devices.
    """
    devices = collections.Counter(device.process_index for device in jax.devices())
    if len(set(devices.values())) > 1:
        raise TicketError(
            f"--distributed: got {dict(sorted(devices.items()))} devices by process, expected the "
            "same number in each; hide some, or set JAX_NUM_CPU_DEVICES"
        )
    name = np.zeros(64, np.uint8)
    letters = np.frombuffer(socket.gethostname().encode()[:64], np.uint8)
    name[: len(letters)] = letters
    with _silence():
        names = multihost_utils.process_allgather(name, tiled=False)
        # On CPUs all must meet for the first time within 30 s, so once here, before any data.
        everywhere = NamedSharding(Mesh(jax.devices(), "ticket"), PartitionSpec("ticket"))
        hosts.gather(hosts.place(np.zeros(jax.device_count(), np.uint8), everywhere))
    names = np.reshape(names, (-1, 64))
    return [row.tobytes().rstrip(b"\0").decode(errors="replace") for row in names]


@contextlib.contextmanager
def _silence() -> Generator[None]:
    """Keeps what the CPUs' collectives (Gloo) print in C++ from stdout."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
