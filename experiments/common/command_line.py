"""From the command line to a configuration, and from an error to one line."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import tyro

from experiments.common import distributed
from experiments.common.interruption import InterruptionError
from experiments.common.misuse import refusals
from experiments.common.quiet import leave_out_repetitions
from experiments.common.steps import command_line_registry
from jaxticket.errors import StorageError, TicketError, unknown
from jaxticket.population.hosts import SharedError

Config = TypeVar("Config")

MISUSE, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes: bad input; a run that failed (a claim, a contract, a full disk ...); Ctrl-C."""


@dataclass(frozen=True)
class _Preset:
    preset: Annotated[str, tyro.conf.arg(help="Named set of defaults.")] = "default"


def parse(
    presets: Mapping[str, Config],
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
) -> Config:
    """Parses the command line over the defaults that `--preset` names.

    Args:
      presets: configurations by name, `default` among them.
      program: how it is called, e.g. `python -m experiments.lenet`.
      description: shown by `--help`.
      arguments: `sys.argv[1:]` if `None`.

    Returns:
      The configuration.

    Raises:
      TicketError: for an unknown preset, and for an unknown or malformed option.
      SystemExit: from `--help`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    without_help = [word for word in words if word not in ("-h", "--help")]
    with refusals(program):
        name = tyro.cli(_Preset, args=without_help, return_unknown_args=True)[0].preset
    if name not in presets:
        raise unknown("preset", name, presets)
    default = presets[name]
    with refusals(program):
        return tyro.cli(
            type(default),
            args=words,
            default=default,
            description=description,
            prog=program,
            registry=command_line_registry(),
        )


def run_main(main: Callable[[], int]) -> None:
    """Runs an experiment's `main` and ends the process with its exit code.

    A mistake of the caller becomes one line on stderr, never a traceback. One of several
    processes that ends before the others tells them, and they end with the same code.

    Args:
      main: does everything and returns an exit code.
    """
    together, stuck = True, False
    leave_out_repetitions()
    try:
        code, message = main(), ""
    except TicketError as error:
        code, message = MISUSE if error.misuse else FAILED, f"error: {error}"
        together = isinstance(error, SharedError)
        stuck = isinstance(error, StorageError)
    except InterruptionError as error:
        code, message = error.code, str(error)
    except KeyboardInterrupt:
        code, message = INTERRUPTED, "\ninterrupted: rerun the same command to go on from here"
        together = False
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code, message, together = 0, "", False
    except Exception as error:
        if not distributed.joined():
            raise
        distributed.explain(error)
        traceback.print_exc()
        code, message, together = FAILED, f"error: {type(error).__name__}: {error}", False
    distributed.leave(code, message, together=together)
    if stuck:
        # What was writing in the background may wait for minutes for what will not come.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
