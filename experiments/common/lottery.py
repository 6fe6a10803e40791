"""The claims about winning tickets, each computed from results with a paired interval."""

from collections.abc import Callable

import numpy as np
import xarray

from experiments.common.judging import lacking
from jaxticket.analysis import Claim, Interval, at_early_stop
from jaxticket.analysis.claims import Evidence, at_least, greater, not_computable
from jaxticket.arms import ARMS

FRANKLE = "Frankle & Carbin 2019, arXiv 1803.03635"
TOLERANCE = 0.001
"""What counts as equal accuracy, stated beforehand: 0.1 percentage points."""

METRIC = "test_accuracy"


def density_schedule() -> Claim:
    """Claims that every arm keeps exactly what the schedule says; dense arms keep everything."""

    def test(results: xarray.Dataset) -> Evidence:
        if (results["scheduled"] < 0).any():
            return not_computable("a budget of weights; the search itself holds one of costs")
        pruned = [arm for arm in results["arm"].values if ARMS[str(arm)].mask != "dense"]
        kept = results["kept"].sel(arm=pruned)
        wanted = results["scheduled_in_layer"]
        wrong = ((kept != wanted) & (wanted >= 0)).sum()
        wrong += (kept.sum("layer") != results["scheduled"]).sum()
        return Evidence(float(wrong), None, int(wrong) == 0)

    return Claim(
        "density-schedule",
        "every arm keeps exactly the scheduled number of weights at every level",
        f"{FRANKLE}, section 2 (prune rates); exact counts are this project's contract 2",
        "0 layers off by any weight",
        exact=True,
        test=test,
    )


def exact_claims() -> list[Claim]:
    """Lists the claims that must hold in every run of every experiment, at any size."""
    return [density_schedule(), exact_zeros(), nested_masks()]


def exact_zeros() -> Claim:
    """Claims that pruned weights are 0.0 after training, in every network."""
    return Claim(
        "exact-zeros",
        "pruned weights are exactly 0.0 after training",
        "contract 1",
        "0 pruned weights that are not zero",
        exact=True,
        test=lambda results: _none_of(results["nonzero_pruned"]),
    )


def nested_masks() -> Claim:
    """Claims that no weight of the ticket comes back once pruned."""
    return Claim(
        "nested-masks",
        "each level's mask is a subset of the level before",
        "contract 3",
        "0 weights regrown",
        exact=True,
        test=lambda results: _none_of(results["regrown"]),
    )


SECTION_2 = f"{FRANKLE}, section 2"


def matches_dense(percent: float, source: str = f"{FRANKLE}, figure 1 and section 2") -> Claim:
    """Claims that the ticket is at least as accurate as the dense network."""
    return Claim(
        f"ticket-matches-dense-{percent:g}",
        f"the ticket at {percent:g} % is at least as accurate as the dense network",
        source,
        f"mean difference ≥ -{TOLERANCE:.1%}",
        exact=False,
        test=_at(percent, lambda r, n: at_least(_accuracy(r, "ticket", n, "ticket", 0), TOLERANCE)),
    )


def beats(
    arm: str,
    percent: float,
    source: str = f"{SECTION_2} (random reinit) and appendix (random sparsity)",
) -> Claim:
    """Claims that the ticket is more accurate than a control of the same density."""
    return Claim(
        f"ticket-beats-{arm.replace('_', '-')}-{percent:g}",
        f"the ticket at {percent:g} % is more accurate than {arm}",
        source,
        "95 % interval of the difference above 0",
        exact=False,
        test=_at(percent, lambda r, n: greater(_accuracy(r, "ticket", n, arm, n)), arm),
    )


def stops_before(
    arm: str, level_of_arm: int | None, percent: float, source: str = SECTION_2
) -> Claim:
    """Claims that the ticket's early-stop step comes before another network's.

    Args:
      arm: the other arm.
      level_of_arm: its level; `None` for the ticket's own level.
      percent: the ticket's density in percent.
      source: of the claim.

    Returns:
      The claim.
    """
    name = "dense" if level_of_arm == 0 else arm

    def test(results: xarray.Dataset, level: int) -> Evidence:
        other = level if level_of_arm is None else level_of_arm
        steps = results["early_stop_step"].where(results["valid"])
        return greater(
            steps.sel(arm=arm, level=other).values - steps.sel(arm="ticket", level=level).values
        )

    return Claim(
        f"ticket-stops-before-{name}-{percent:g}",
        f"the ticket at {percent:g} % reaches its lowest validation loss before {name}",
        source,
        "95 % interval of the difference in steps above 0",
        exact=False,
        test=_at(percent, test, arm),
    )


def beats_oneshot(percent: float) -> Claim:
    """Claims that pruning in levels is at least as good as pruning once, at low densities."""

    def test(results: xarray.Dataset) -> Evidence:
        levels = np.flatnonzero(results["density"].values <= percent / 100).tolist()
        needs = {"the arm oneshot": "oneshot" in results["arm"]}
        missing = lacking(needs | {f"a density of {percent:g} % or less": len(levels) > 0})
        if missing is not None:
            return missing
        gaps = [_accuracy(results, "ticket", n, "oneshot", n) for n in levels]
        return at_least(np.mean(gaps, axis=0), TOLERANCE)

    return Claim(
        f"iterative-matches-oneshot-{percent:g}",
        f"iterative pruning is at least as accurate as one-shot, mean of all levels at "
        f"{percent:g} % and below",
        f"{FRANKLE}, section 2 (one-shot pruning)",
        f"mean difference ≥ -{TOLERANCE:.1%}",
        exact=False,
        test=test,
    )


def falls_below_later(levels_later: int) -> Claim:
    """Claims that the ticket's mean falls below dense accuracy some levels later than reinit's.

    Args:
      levels_later: by how many levels at least.

    Returns:
      The claim. Its interval is of the bootstrap over replicates (all arms resampled together).
    """

    def gap(differences: np.ndarray) -> float:
        ticket, reinit = (_first_below(arm.mean(axis=-1)) for arm in differences)
        return float(ticket - reinit)

    def test(results: xarray.Dataset) -> Evidence:
        enough = results.sizes["level"] >= levels_later + 2
        needs = {"the arm reinit": "reinit" in results["arm"]}
        missing = lacking(needs | {f"{levels_later + 2} levels": enough})
        if missing is not None:
            return missing
        values = at_early_stop(results, METRIC)
        difference = (values - values.sel(level=0)).sel(arm=["ticket", "reinit"])
        whole = difference.transpose("arm", "level", "replicate").values
        whole = whole[..., ~np.isnan(whole).any(axis=(0, 1))]
        if whole.shape[-1] < 2:
            return not_computable(f"{whole.shape[-1]} valid replicate(s), at least 2 are needed")
        measured = gap(whole)
        return Evidence(measured, _bootstrap(gap, whole), measured >= levels_later)

    return Claim(
        "ticket-falls-below-dense-later",
        "the ticket's mean first falls below dense accuracy at a later level than reinit's",
        f"{FRANKLE}, section 2: 2.9 % against 21.1 % on MNIST, nine levels",
        f"at least {levels_later} levels later; one past the last level if it never falls",
        exact=False,
        test=test,
    )


def _first_below(differences: np.ndarray) -> int:
    """Finds the first level whose mean difference from dense is below zero."""
    below = np.flatnonzero(differences[1:] < 0)
    return int(below[0]) + 1 if len(below) else len(differences)


def _bootstrap(statistic: Callable[[np.ndarray], float], values: np.ndarray) -> Interval:
    """Gives the percentile interval over resampled replicates, the last axis."""
    generator = np.random.default_rng(0)
    number = values.shape[-1]
    rows = generator.integers(0, number, (10_000, number))
    drawn = [statistic(values[..., row]) for row in rows]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(statistic(values), float(low), float(high), number)


def _accuracy(
    results: xarray.Dataset, first: str, first_level: int, second: str, second_level: int
) -> np.ndarray:
    """Gives the paired difference of accuracies at early stop."""
    values = at_early_stop(results, METRIC)
    one = values.sel(arm=first, level=first_level).values
    return one - values.sel(arm=second, level=second_level).values


def _at(
    percent: float, test: Callable[[xarray.Dataset, int], Evidence], *arms: str
) -> Callable[[xarray.Dataset], Evidence]:
    """Makes a test at the level of a density, if the run has it and the arms."""

    def at_density(results: xarray.Dataset) -> Evidence:
        density = 100 * np.atleast_2d(results["density"].values)[0]
        level = int(np.abs(density - percent).argmin())
        missing = [arm for arm in arms if arm not in results["arm"]]
        if missing or abs(density[level] - percent) > 0.05 * percent:
            what = f"the arm {missing[0]}" if missing else f"a level at {percent:g} %"
            return not_computable(f"needs {what}")
        return test(results, level)

    return at_density


def _none_of(counts: xarray.DataArray) -> Evidence:
    total = int(counts.sum())
    return Evidence(float(total), None, total == 0)


def first_strategy_matches(percent: float) -> Claim:
    """Claims that resetting at every level is at least as good as resetting once, at the end."""

    def test(results: xarray.Dataset, level: int) -> Evidence:
        values = at_early_stop(results, METRIC).sel(level=level)
        first = values.sel(variant=_with("strategy 1", results), arm="ticket").values
        second = values.sel(variant=_with("strategy 2", results), arm="rewound").values
        # Paired rate by rate, so that a network that diverged takes its replicate with it.
        return at_least(np.mean(first - second, axis=0), TOLERANCE)

    return Claim(
        f"strategy-1-matches-2-{percent:g}",
        f"at {percent:g} % tickets of strategy 1 are at least as accurate as those of strategy 2",
        f"{FRANKLE}, appendix B",
        f"mean difference ≥ -{TOLERANCE:.1%}",
        exact=False,
        test=_at(percent, test),
    )


def _with(words: str, results: xarray.Dataset) -> list[str]:
    return [name for name in results["variant"].values.tolist() if words in name]


def of_variant(claim: Claim, variant: str) -> Claim:
    """Makes a claim about one variant of a sweep.

    Args:
      claim: about the results of one search.
      variant: its name.

    Returns:
      The claim.
    """
    return claim._replace(
        id=f"{claim.id}-{variant.replace(' ', '-')}",
        statement=f"{variant}: {claim.statement}",
        test=lambda results: claim.test(results.sel(variant=variant)),
    )
