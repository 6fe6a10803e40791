"""What every benchmark does around its measurements."""

from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

from benchmarks.common import machine
from benchmarks.common.options import Options, parse_options
from benchmarks.common.report import Findings, finish
from experiments.common.report import make_console

Chosen = TypeVar("Chosen", bound=Options)


def make_main(
    name: str,
    description: str | None,
    default: Chosen,
    quick: Callable[[Chosen], Chosen],
    check: Callable[[Chosen], None],
    measure: Callable[[Chosen, Findings, Console], None],
) -> Callable[..., int]:
    """Makes the command of a benchmark.

    Args:
      name: of its module.
      description: its docstring, shown by `--help`.
      default: the usual configuration.
      quick: makes the small configuration from it.
      check: raises a `TicketError` for what cannot be measured, before anything is.
      measure: measures, prints tables and adds to the findings.

    Returns:
      `main(arguments=None, console=None) -> exit code`; `sys.argv[1:]` where they are `None`.
    """

    def main(arguments: list[str] | None = None, console: Console | None = None) -> int:
        program = f"python -m benchmarks.{name}"
        config = parse_options(default, quick, program, description or "", arguments)
        check(config)
        console = console or make_console()
        machine.start(config.device)
        console.print(machine.line(), markup=False)
        findings = Findings(name, {}, [], [], [])
        measure(config, findings, console)
        return finish(console, config, findings)

    return main
