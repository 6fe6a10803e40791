"""A finished run, read from its directory and checked, for the report."""

import dataclasses
import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxticket.costs import Costs
from jaxticket.errors import TicketError, unknown
from jaxticket.runs import as_json, check_run, read_json, read_results

if TYPE_CHECKING:
    import xarray

_NEEDED = {
    "config.json": {"experiment": str, "hash": str, "config": dict},
    "environment.json": {"starts": list},
    "summary.json": {"seconds": (int, float), "claims": list},
}
_IN_A_CLAIM = ("statement", "source", "expected", "measured", "interval", "holds")
_IN_A_START = ("machine", "devices", "packages", "plan", "data")


class FinishedRun(NamedTuple):
    """What a run directory says, and its experiment's own words.

    Attributes:
      experiment: its name, that of the module `experiments.<name>`.
      hash: of the configuration.
      question: the first line of the module's docstring.
      paper: what the docstring says after "Paper:"; empty if nothing.
      command: the shell command that makes the run again.
      starts: where it ran, one entry a start; from `environment.json`.
      summary: seconds, costs and verdicts; from `summary.json`.
      results: all curves.
      figures: the main figures' files, two at most.
      path: the directory.
    """

    experiment: str
    hash: str
    question: str
    paper: str
    command: str
    starts: list[dict[str, Any]]
    summary: dict[str, Any]
    results: "xarray.Dataset"
    figures: list[Path]
    path: Path


def read_finished(path: Path) -> FinishedRun:
    """Reads a run directory.

    Args:
      path: of a complete run.

    Returns:
      The run.

    Raises:
      TicketError: if it is no run directory, incomplete, damaged, or of an experiment or
        options that do not exist here.

    Example:
      >>> read_finished(Path("/nonexistent"))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: /nonexistent: is no run directory (no config.json), expected \
one such as runs/lenet/<hash>
    """
    if not (path / "config.json").is_file():
        raise TicketError(
            f"{path}: is no run directory (no config.json), expected one such as runs/lenet/<hash>"
        )
    for name in ("environment.json", "results.nc", "summary.json"):
        if not (path / name).is_file():
            raise TicketError(f"{path}: has not finished (no {name}); rerun its command")
    check_run(path)
    config = _read(path / "config.json")
    name = f"{config['experiment']} {config['hash']}"
    environment = _read(path / "environment.json", name)
    summary = _read(path / "summary.json", name)
    _check_entries(path / "summary.json", "claims", summary["claims"], _IN_A_CLAIM)
    _check_verdicts(path / "summary.json", summary)
    _check_entries(path / "environment.json", "starts", environment["starts"], _IN_A_START)
    module = _module(path, config["experiment"])
    command = _command(path, module, config)
    results = read_results(path / "results.nc", name)
    # The first figure of one search shows all that its paper draws; of a sweep, one measure.
    most = 2 if "variant" in results.dims else 1
    # Modules say what was tried at default size; of other sizes it says nothing.
    tried = {} if " --" in command else getattr(module, "TRIED", {})
    return FinishedRun(
        experiment=config["experiment"],
        hash=config["hash"],
        question=(module.__doc__ or "").strip().split("\n")[0],
        paper=_paper(module.__doc__ or ""),
        command=command,
        starts=environment["starts"],
        summary=_with_tried(summary, tried),
        results=results,
        figures=_figures(path, config["experiment"], summary.get("figures", []), most),
        path=path,
    )


def options(config: dict[str, Any], preset: Any) -> list[str]:
    """Lists the options that turn a preset's values into a run's.

    What does not count for a run's hash (where it went, how it was computed) is left out.

    Args:
      config: the run's configuration, as JSON has it; a field that it lacks has its default.
      preset: the preset, a dataclass.

    Returns:
      Words of a command line.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Config:
      ...     levels: int = 16
      ...     rewind_moments: bool = False
      >>> options({"levels": 3, "rewind_moments": True}, Config())
      ['--levels', '3', '--rewind-moments']
    """
    usual, before = as_json(type(preset)()), as_json(preset)
    words = []
    for field in dataclasses.fields(preset):
        value = config.get(field.name, usual[field.name])
        if field.metadata.get("science", True) and value != before[field.name]:
            words += _option(field.name.replace("_", "-"), value, flag=field.type in (bool, "bool"))
    return words


def _option(name: str, value: Any, *, flag: bool) -> list[str]:
    if flag:
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]


def _command(path: Path, module: ModuleType, content: dict[str, Any]) -> str:
    config, name = content["config"], content["config"].get("preset", "default")
    if name not in module.PRESETS:
        raise TicketError(f"{path}: {unknown('preset', name, module.PRESETS)}")
    preset = module.PRESETS[name]
    strange = sorted(set(config) - {field.name for field in dataclasses.fields(preset)})
    if strange:
        raise TicketError(
            f"{path}: has options that {module.__name__} does not know ({', '.join(strange)}); "
            "rerun it with this version"
        )
    chosen = [] if name == "default" else ["--preset", name]
    return shlex.join(["python", "-m", module.__name__, *chosen, *options(config, preset)])


def _with_tried(summary: dict[str, Any], tried: dict[str, str]) -> dict[str, Any]:
    """Puts what a module says was tried beside the claims that fail."""
    claims = [
        claim | {"tried": tried[claim["id"]]}
        if claim["holds"] is False and claim.get("id") in tried
        else claim
        for claim in summary["claims"]
    ]
    return summary | {"claims": claims}


def _module(path: Path, experiment: str) -> ModuleType:
    name = f"experiments.{experiment}"
    try:
        module = importlib.import_module(name) if experiment.isidentifier() else None
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        module = None
    if module is None or not hasattr(module, "PRESETS"):
        raise TicketError(
            f"{path}: belongs to {experiment!r}, which is no experiment here; "
            "python -m experiments lists them"
        )
    return module


def _paper(docstring: str) -> str:
    found = re.search(r"^Papers?:\s*(.+?)(?:\n\s*\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _figures(path: Path, experiment: str, listed: list[str], most: int) -> list[Path]:
    """Finds the figures that are listed first, else those that are named as main ones are."""
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise TicketError(f"{path / 'summary.json'}: figures is no list of names; restore the file")
    names = [Path(name).stem for name in listed[:most]] or ["tickets", experiment]
    files = [path / "figures" / f"{name}.png" for name in dict.fromkeys(names)]
    gone = [file for file in files if listed and not file.is_file()]
    if gone:
        raise TicketError(f"{gone[0]}: not there, but summary.json lists it; rerun the run")
    return [file for file in files if file.is_file()]


def _read(file: Path, run: str | None = None) -> dict[str, Any]:
    content = read_json(file, run=run)
    needed = _NEEDED[file.name]
    whole = content if isinstance(content, dict) else {}
    missing = [name for name, kind in needed.items() if not isinstance(whole.get(name), kind)]
    if missing:
        raise TicketError(f"{file}: has no valid {' and '.join(missing)}; restore the file")
    return content


def _check_entries(file: Path, what: str, entries: list[Any], needed: tuple[str, ...]) -> None:
    for place, entry in enumerate(entries):
        missing = [n for n in needed if not isinstance(entry, dict) or n not in entry]
        if missing:
            raise TicketError(
                f"{file}: {what}[{place}] has no {' and '.join(missing)}; restore the file"
            )


def _check_verdicts(file: Path, summary: dict[str, Any]) -> None:
    strange = [c["holds"] for c in summary["claims"] if not isinstance(c["holds"], bool | None)]
    costs = summary.get("costs") or dict.fromkeys(Costs._fields)
    if strange:
        raise TicketError(
            f"{file}: holds is {strange[0]!r}, expected true, false or null; restore the file"
        )
    if missing := [name for name in Costs._fields if name not in costs]:
        raise TicketError(f"{file}: costs has no {' and '.join(missing)}; restore the file")
