"""One run on several hosts: the options, the start and the end of every process."""

import contextlib
import dataclasses
import sys

import jax

from experiments.common.meeting import check_free, meet
from experiments.common.watch import Watch, end, on_abort
from jaxticket.errors import TicketError
from jaxticket.population import hosts

_PATIENCE = 300
"""Seconds in which all processes must have come."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Over which hosts a run is shared out; the same command starts on each."""

    distributed: bool = False
    """Share the run out over several processes, one or more a host; see docs/scaling.md."""
    coordinator: str | None = None
    """host:port of process 0; SLURM, TPU pods and Open MPI tell it themselves."""
    processes: int | None = None
    """How many processes there are; likewise."""
    process: int | None = None
    """Which one this is, from 0; likewise."""
    lost_after: float = 30.0
    """Seconds without a sign of life after which a host counts as lost and the others end."""

    @property
    def explicit(self) -> dict[str, str | int | None]:
        """The three options that say what no cluster says."""
        return {
            "--coordinator": self.coordinator,
            "--processes": self.processes,
            "--process": self.process,
        }


def check_hosts(chosen: Hosts, plan: str) -> None:
    """Checks the options, without starting anything.

    Args:
      chosen: the options.
      plan: the name of the plan.

    Raises:
      TicketError: one line on the first thing that is wrong.

    Example:
      >>> check_hosts(Hosts(distributed=True, coordinator="a:1", processes=2), "mesh")
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: --distributed: got --coordinator and --processes without \
--process, expected all three, or none where SLURM, a TPU pod or Open MPI tells them
    """
    given = [name for name, value in chosen.explicit.items() if value is not None]
    missing = [name for name, value in chosen.explicit.items() if value is None]
    if given and not chosen.distributed:
        raise TicketError(f"{given[0]}: got it without --distributed, expected both or neither")
    if given and missing:
        raise TicketError(
            f"--distributed: got {' and '.join(given)} without {' and '.join(missing)}, expected "
            "all three, or none where SLURM, a TPU pod or Open MPI tells them"
        )
    if chosen.distributed and not plan.startswith(("auto", "mesh")):
        raise TicketError(
            f"--plan {plan}: uses one device, so every host would train all networks; give "
            "--plan mesh with --distributed"
        )
    if not chosen.lost_after > 0:
        raise TicketError(f"--lost-after: got {chosen.lost_after}, expected a positive number")
    if given:
        _check_explicit(chosen)


def _check_explicit(chosen: Hosts) -> None:
    processes, process = chosen.processes or 0, chosen.process or 0
    if processes < 1:
        raise TicketError(f"--processes: got {processes}, expected at least 1")
    if not 0 <= process < processes:
        raise TicketError(
            f"--process: got {process}, expected 0 to {processes - 1} for {processes} processes"
        )
    host, _, port = (chosen.coordinator or "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise TicketError(
            f"--coordinator: got {chosen.coordinator!r}, expected host:port, like 10.0.0.1:5000"
        )


_watch: Watch | None = None


def join(chosen: Hosts) -> None:
    """Makes this process one of several, before JAX starts its backend; nothing if not asked for.

    Args:
      chosen: the options, checked.

    Raises:
      TicketError: if no cluster tells what the options do not, or the processes do not fit.
    """
    global _watch
    if not chosen.distributed:
        return
    # Its signal handler would make the process survive SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    _connect(chosen)
    names = meet()
    from jax._src.distributed import global_state

    address = global_state.coordinator_address or ""
    _watch = Watch(jax.process_index(), names, chosen.lost_after, address)
    on_abort(_watch.end_aborted)
    _watch.start()


def leave(code: int, message: str, *, together: bool) -> None:
    """Ends this process's part; does not return if the others are still at work.

    Args:
      code: the exit code.
      message: what went wrong, printed on stderr; nothing if empty.
      together: whether every process ends here, so that one tells it for all.
    """
    if message and (not together or hosts.is_primary()):
        print(message, file=sys.stderr, flush=True)
    if _watch is None:
        return
    if not together:
        why = message.strip().removeprefix("error: ")
        _watch.tell(code, why and f"error: {_watch.describe()} has ended: {why}")
        end(code, "")
    _watch.stop()
    with contextlib.suppress(RuntimeError):
        jax.distributed.shutdown()
    on_abort(None)


def joined() -> bool:
    """Says whether this process is one of several, by `join`."""
    return _watch is not None


def explain(error: Exception) -> None:
    """Waits, after an error of JAX's runtime, for the watch to find that a host is gone.

    A collective operation tells of a closed connection, the watch of whose it was; then this
    does not return.

    Args:
      error: what the experiment raised.
    """
    if _watch is not None and isinstance(error, jax.errors.JaxRuntimeError):
        _watch.wait()


def _connect(chosen: Hosts) -> None:
    if chosen.coordinator is not None and chosen.process == 0:
        check_free(chosen.coordinator)
    where = chosen.coordinator or "the coordinator"
    on_abort(
        lambda: end(
            1,
            f"error: not all processes came to {where} within {_PATIENCE} s; start the same "
            "command on every host, with a --coordinator that all of them reach",
        )
    )
    try:
        jax.distributed.initialize(
            chosen.coordinator,
            chosen.processes,
            chosen.process,
            initialization_timeout=_PATIENCE,
            # A second net below the watch, which says names; it may close after half this time.
            heartbeat_timeout_seconds=round(2 * chosen.lost_after + 20),
            shutdown_timeout_seconds=60,
        )
    except (ValueError, RuntimeError) as error:
        if chosen.coordinator is None and isinstance(error, ValueError):
            raise TicketError(
                "--distributed: found no SLURM, TPU pod or Open MPI, expected one; otherwise give "
                "--coordinator HOST:PORT, --processes COUNT and --process INDEX"
            ) from None
        raise TicketError(f"--distributed: cannot start ({error})") from None
