"""One run's section of the report."""

from pathlib import Path
from typing import Any

from experiments.common.accounting import describe_costs
from experiments.common.finished import FinishedRun
from experiments.common.markdown import NOTHING, from_rich, number, table, text
from experiments.common.report import only_uncorrected, p_values, results_tables
from experiments.common.troubles import describe_diverged, describe_useless
from experiments.common.undefined import describe_undefined

REPLICATES = 5
"""How many independent replicates a default run has at least."""

_VERDICTS = {True: "yes", False: "**no**", None: "undecided"}
_COLUMNS = (
    *("claim", "source", "the paper", "expected", "measured", "95 % interval"),
    *("p (corrected)", "holds"),
)


def section(run: FinishedRun, title: str, images: list[str]) -> str:
    """Writes everything about one run.

    Args:
      run: the run.
      title: of the section.
      images: links to its main figures.

    Returns:
      Markdown, from the heading on.
    """
    claims = run.summary["claims"]
    parts = [
        f"## {title}",
        text(run.question),
        "\n".join(_facts(run)),
        table(_COLUMNS, [_row(claim) for claim in claims]),
        *(_failed(claim, run.summary) for claim in claims if claim["holds"] is False),
        *(f"Note: {text(note)}" for note in run.summary.get("notes", [])),
        *(
            f"![{_caption(run, file)}]({link})"
            for file, link in zip(run.figures, images, strict=True)
        ),
        *_densities(run),
    ]
    return "\n\n".join(parts)


def replicates(run: FinishedRun) -> int | None:
    """Counts the replicates of a run.

    Args:
      run: the run.

    Returns:
      Their number; `None` where the results have no such dimension.
    """
    return run.results.sizes.get("replicate")


def machine(start: dict[str, Any]) -> str:
    """Names the machine of one start in a few words.

    Args:
      start: an entry of `environment.json`.

    Returns:
      Accelerators, cores, and the processor if it is recorded.

    Example:
      >>> devices = {"platform": "gpu", "kind": "NVIDIA A100", "count": 2, "processes": 1}
      >>> machine({"devices": devices, "machine": {"cores": 16}})
      '2 x NVIDIA A100, 16 cores'
    """
    devices, host = start["devices"], start["machine"]
    accelerators = f"{devices['count']} x {devices['kind']}, " * (devices["platform"] != "cpu")
    processor = f", {host['processor']}" if host.get("processor") else ""
    processes = f", {devices['processes']} processes" if devices.get("processes", 1) > 1 else ""
    return text(f"{accelerators}{host['cores']} cores{processor}{processes}")


def machines(run: FinishedRun) -> str:
    """Names the machines of a run, each once.

    Args:
      run: the run.

    Returns:
      Their names, in the order in which the run was on them.
    """
    return "; then ".join(dict.fromkeys(machine(start) for start in run.starts)) or NOTHING


def _facts(run: FinishedRun) -> list[str]:
    data = dict.fromkeys(
        f"{s['data']['name']}, sha256 {s['data']['sha256'][:12]}" for s in run.starts
    )
    facts = {
        "Paper": text(run.paper) or NOTHING,
        "Command": f"`{run.command}`",
        "Machine": "; then ".join(dict.fromkeys(map(_place, run.starts))) or NOTHING,
        "Data": text("; ".join(data)) or NOTHING,
        "Replicates": _replicates(run),
        "Time": _time(run),
    }
    lines = [f"- {name}: {fact}" for name, fact in facts.items()]
    costs = run.summary.get("costs")
    if costs and costs["network_steps"]:
        work, _, *notes = describe_costs(costs)
        lines += [f"- Work: {text(work)}", *(f"- {text(note)}" for note in notes)]
    if run.summary.get("diverged"):
        lines.append(f"- Diverged: {text(describe_diverged(run.summary['diverged']))}")
    if run.summary.get("undefined"):
        lines.append(f"- No barrier: {text(describe_undefined(run.summary['undefined']))}")
    useless = {kind: run.summary.get(kind, []) for kind in ("collapsed", "untrained")}
    lines += [f"- Of no use: {text(line)}" for line in describe_useless(useless)]
    return lines


def _place(start: dict[str, Any]) -> str:
    date = f"; {start['date'][:10]}" if start.get("date") else ""
    return f"{machine(start)}; jax {start['packages']['jax']}; plan: {text(start['plan'])}{date}"


def _replicates(run: FinishedRun) -> str:
    count = replicates(run)
    if count is None:
        return NOTHING
    return (
        f"{count}, fewer than the {REPLICATES} of a default run"
        if count < REPLICATES
        else str(count)
    )


def _time(run: FinishedRun) -> str:
    # Every start keeps its own account, and the summary has the last one's.
    count = len(run.starts)
    which = f" in the last of {count} starts, which went on from the others" if count > 1 else ""
    phases = run.summary.get("costs", {}).get("seconds", {})
    shown = ", ".join(f"{name} {value:.1f}" for name, value in phases.items() if value >= 0.05)
    return f"{run.summary['seconds']:,.1f} s{which}{f': {shown}' if shown else ''}"


def _row(claim: dict[str, Any]) -> list[str]:
    return [
        text(claim["statement"]),
        text(claim["source"]),
        number(claim.get("paper")),
        text(claim["expected"]),
        number(claim["measured"]),
        _interval(claim),
        p_values(claim) or NOTHING,
        _VERDICTS[claim["holds"]] + (", **not corrected**" if only_uncorrected(claim) else ""),
    ]


def _interval(claim: dict[str, Any]) -> str:
    ends = claim["interval"]
    return " to ".join(map(number, ends)) if ends else NOTHING


def _failed(claim: dict[str, Any], summary: dict[str, Any]) -> str:
    interval = f", 95 % interval {_interval(claim)}" if claim["interval"] else ""
    tried = claim.get("tried") or summary.get("tried") or "nothing is recorded."
    return (
        f"Failed: {text(claim['statement'])}. Measured {number(claim['measured'])}{interval}; "
        f"expected {text(claim['expected'])}. Tried: {text(tried)}"
    )


def _caption(run: FinishedRun, figure: Path) -> str:
    return text(f"{run.experiment}: {figure.stem.replace('_', ' ')}")


def _densities(run: FinishedRun) -> list[str]:
    """Makes the tables of densities: of one search, or of each of a few."""
    results = run.results
    dims = {"arm", "level", "replicate"}
    known = {"test_accuracy", "early_stop_step", "valid"} <= set(results)
    if not known or "density" not in results:
        return []
    if set(results["early_stop_step"].dims) - {"variant"} != dims:
        return []
    if results.sizes.get("variant", 1) > FEW:
        return []
    return [
        part
        for made in results_tables(results)
        for part in (f"<details><summary>{made.title}</summary>", from_rich(made), "</details>")
    ]


FEW = 4
"""Variants of a sweep whose tables of densities are shown one by one."""
