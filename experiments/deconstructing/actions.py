"""What becomes of kept weights and what of pruned ones, crossed: arms, claims, tables, figures."""

from typing import TYPE_CHECKING, Any

import xarray
from rich.table import Table

from experiments.common import sweeps
from experiments.common.problem import Problem
from jaxticket.analysis import Claim
from jaxticket.arms import CROSSED, MASK_0, MASK_1

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTROLS = ("shuffle", "shuffle_reinit", "oneshot")
"""Of the mask's place and making."""

LINES = (
    *(CROSSED[kept, "zero"] for kept in MASK_1),
    *(CROSSED["rewind", pruned] for pruned in list(MASK_0)[1:]),
    *CONTROLS,
)
"""The mask-1 actions, the mask-0 actions, one at a time as in the paper, and the controls."""

ALL = (*CROSSED.values(), *CONTROLS)
"""Every mask-1 action with every mask-0 action, and the controls."""

EQUAL = 0.01
"""What still counts as equally accurate where it is not claimed that one action gains."""

SOURCE = "this project's own question, after 1905.01067, section 4"


def is_crossed(results: xarray.Dataset) -> bool:
    """Says whether results hold an arm that is on none of the two lines.

    Args:
      results: of a run.

    Returns:
      True if so.

    Example:
      >>> is_crossed(xarray.Dataset(coords={"arm": ["ticket", "reinit_frozen"]}))
      True
    """
    return bool(set(results["arm"].values.tolist()) & (set(ALL) - set(LINES)))


def of_lines(results: xarray.Dataset) -> xarray.Dataset:
    """Leaves out the arms that are on none of the two lines.

    Args:
      results: of a run.

    Returns:
      What figures and tables of a panel or a column an arm have room for.
    """
    crossed = set(ALL) - set(LINES)
    return results.sel(arm=[arm for arm in results["arm"].values.tolist() if arm not in crossed])


def claims(problem: Problem, variant: str, percent: float) -> list[Claim]:
    """Claims of zeros, under every mask-1 action that is crossed, what the paper does of one.

    That weights which shrank may begin at zero, too, is claimed where there is such an arm.

    Args:
      problem: what is run.
      variant: the criterion.
      percent: the density.

    Returns:
      Three claims a mask-1 action; none where nothing is crossed.
    """
    made = []
    for kept in MASK_1[1:]:
        zero, frozen, unless, also_kept = (
            sweeps.Cell(variant, CROSSED[kept, pruned]) for pruned in MASK_0
        )
        if {frozen.arm, unless.arm} <= set(problem.config.arms):
            made.append(sweeps.more(zero, frozen, percent, SOURCE))
            made.append(sweeps.as_good(unless, zero, percent, 0.0, SOURCE))
        if {unless.arm, also_kept.arm} <= set(problem.config.arms):
            made.append(sweeps.as_good(also_kept, unless, percent, EQUAL, SOURCE))
    return made


def tables(results: xarray.Dataset, percent: float, when: str = "early_stop") -> list[Table]:
    """Makes a table a criterion: mask-1 actions (rows) and mask-0 actions (columns).

    Args:
      results: of a run.
      percent: the density; the nearest level is shown.
      when: a key of `sweeps.READ`.

    Returns:
      Rich tables; none where nothing is crossed.
    """
    if not is_crossed(results):
        return []
    return [
        _table(results.sel(variant=name), str(name), percent, when)
        for name in results["variant"].values
    ]


def _table(results: xarray.Dataset, name: str, percent: float, when: str) -> Table:
    density = 100 * results["density"].values
    level = int(abs(density - percent).argmin())
    values = sweeps.READ[when](results, "test_accuracy").isel(level=level)
    rows = {
        kept: [
            values.sel(arm=CROSSED[kept, pruned]).values
            if CROSSED[kept, pruned] in values["arm"]
            else values.isel(arm=0).values * float("nan")
            for pruned in MASK_0
        ]
        for kept in MASK_1
    }
    title = f"{name}: test accuracy{sweeps.WORDS[when]} at {density[level]:.1f} % of the weights"
    return sweeps.make_table(title, results, list(MASK_0), rows)


def draw(
    results: xarray.Dataset, mild: float, sparse: float, titles: dict[str, str]
) -> "dict[str, Figure]":
    """Draws the cross, trained and untrained.

    Args:
      results: of a run.
      mild: the density, in percent, of untrained networks.
      sparse: that of trained ones.
      titles: of criteria, in their own and the paper's words.

    Returns:
      Figures by file name; none where nothing is crossed.
    """
    from jaxticket import plots

    if not is_crossed(results):
        return {}
    named: dict[str, Any] = {"titles": titles}
    return {
        "crossed": plots.actions_heat_map(results, sparse, **named),
        "crossed_untrained": plots.actions_heat_map(results, mild, step="start", **named),
    }
