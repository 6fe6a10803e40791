"""What a run cost, for people."""

from typing import Any

from jaxticket.costs import Costs, Ledger, account, matrix_rate
from jaxticket.population import Plan
from jaxticket.population.memory import readable


def draw_up(ledger: Ledger, plan: Plan) -> dict[str, Any]:
    """Draws up the account of a run, and measures what the machine could have done.

    Args:
      ledger: of the run.
      plan: how its populations ran.

    Returns:
      The costs, for `summary.json`.
    """
    limit = matrix_rate(plan) if ledger.network_steps else None
    costs = account(ledger, limit)
    return costs._asdict() | {"matrix_rate": limit, "notes": list(costs.notes)}


def describe_costs(costs: dict[str, Any]) -> list[str]:
    """Says what a run cost.

    Args:
      costs: from `draw_up`.

    Returns:
      Lines: what was done how fast, where the time went, and what was noted.

    Example:
      >>> ledger = Ledger()
      >>> ledger.seconds, ledger.network_steps, ledger.networks = {"train": 2.0}, 100, 4
      >>> print(*describe_costs(account(ledger)._replace(peak_memory_bytes=2**30)._asdict()))
      4 networks, 100 network-steps at 50 a second; 7,200 networks an hour; memory 1 GiB \
seconds: train 2.0
    """
    found = Costs(**{name: costs[name] for name in Costs._fields})
    if not found.network_steps:
        return [f"nothing was left to train; {_seconds(found)}"]
    done = f"{found.networks:,} networks, {found.network_steps:,} network-steps"
    parts = [f"{done} at {found.network_steps_a_second:,.0f} a second"]
    parts.append(f"{found.networks_an_hour:,.0f} networks an hour")
    if found.flops_a_second:
        limit = found.share_of_limit
        share = f", {limit:.0%} of this machine's matrix products" if limit else ""
        parts.append(f"{found.flops_a_second / 1e9:,.0f} GFLOP/s{share}")
    if found.peak_memory_bytes:
        parts.append(f"memory {readable(found.peak_memory_bytes)}")
    return ["; ".join(parts), _seconds(found), *found.notes]


def _seconds(costs: Costs) -> str:
    parts = [f"{name} {value:.1f}" for name, value in costs.seconds.items() if value >= 0.05]
    return f"seconds: {', '.join(parts)}"
