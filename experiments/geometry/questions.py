"""The claims of geometry: three questions, each answered by a number with its interval."""

from collections.abc import Callable

import numpy as np
import xarray

from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, by_interval, greater, not_computable

INSIGHTS = "Saleem et al., arXiv 2403.15022 (only its abstract was read)"
OWN = "this project's question"
SPARSE = 0.1
"""The density at or below which a level counts as sparse."""

Test = Callable[[xarray.Dataset], Evidence]


def smallest_are_the_tickets() -> Claim:
    """Claims that the ticket's next mask is that without each layer's smallest weights."""

    def test(results: xarray.Dataset) -> Evidence:
        if "differing" not in results:
            return not_computable("needs two levels of iterative pruning by magnitude")
        wrong = int(results["differing"])
        return Evidence(float(wrong), None, wrong == 0)

    return Claim(
        "the-smallest-weights-are-those-that-went",
        "taking each layer's smallest weights, as many as it lost, gives the ticket's next mask",
        "definition of magnitude pruning; ties break as in contract 2",
        "0 weights that differ",
        exact=True,
        test=test,
    )


def questions() -> list[Claim]:
    """Lists the claims about the three questions, decided before any run."""
    return [*initialisation(), *magnitude(), *iteration()]


def initialisation() -> list[Claim]:
    """Why this initialisation: the ticket stays in the basin of the network before."""
    return [
        _more(
            f"ticket-nearer-than-{arm}-by-{variable}",
            f"the {variable} between {arm} and the network that was pruned is larger than that "
            "between the ticket and it",
            source,
            variable,
            ("pair", arm),
            ("pair", "ticket"),
        )
        for variable, arm, source in (
            ("barrier", "reinit", f"hypothesis after {INSIGHTS}; 2010.03533, section 4"),
            ("angle", "reinit", "2106.06955, section 4 (unverified)"),
            ("barrier", "shuffle", f"hypothesis after {INSIGHTS}"),
        )
    ] + [_start_falls()]


def magnitude() -> list[Claim]:
    """Why small weights: their removal raises the loss least, as the curvature predicts."""
    orders = [
        _more(
            f"removing-{more}-jumps-more-than-{less}",
            f"removing as many of the {more} weights raises the loss more than the {less}",
            f"hypothesis after {INSIGHTS}",
            "jump_jump",
            ("removal", more),
            ("removal", less),
        )
        for more, less in (("random", "smallest"), ("largest", "random"))
    ]
    return [*orders, _predicted()]


def iteration() -> list[Claim]:
    """Why iterative: the last step is a small one, where one-shot leaves the basin."""
    return [
        _more(
            "oneshot-jumps-more-than-the-last-step",
            "pruning the dense network once to this density raises the loss more than the last "
            "step of iterative pruning",
            f"hypothesis after {INSIGHTS}; 2210.03044, section 5 (unverified)",
            "jump_jump",
            ("removal", "oneshot"),
            ("removal", "smallest"),
        ),
        _more(
            "oneshot-ends-further-than-the-last-step",
            "the barrier from the retrained one-shot network to the dense one it was pruned from "
            "is higher than that of the last step of iterative pruning",
            f"hypothesis after {INSIGHTS}; 2210.03044, section 4 (unverified)",
            "barrier",
            ("pair", "oneshot"),
            ("pair", "ticket"),
        ),
    ]


def _more(
    name: str,
    statement: str,
    source: str,
    variable: str,
    more: tuple[str, str],
    less: tuple[str, str],
) -> Claim:
    """Claims that a variable is larger in one place than in another, at the sparsest level."""

    def judge(here: xarray.Dataset) -> Evidence:
        one, other = (here[variable].sel({at: what}).values for at, what in (more, less))
        for values, (_, what) in ((one, more), (other, less)):
            if np.isnan(values).all():
                return not_computable(f"needs the arm {what}")
        return greater(one - other)

    return Claim(
        name,
        f"at the sparsest level {statement}",
        source,
        "95 % interval of the difference above 0",
        exact=False,
        test=_sparsest(variable, judge),
    )


def _start_falls() -> Claim:
    """Claims that the loss never rises above its start on the way to the trained ticket."""

    def judge(here: xarray.Dataset) -> Evidence:
        path = here["path"].sel(pair="init")
        # The start is at alpha = 0.
        above = path.max("alpha") - path.isel(alpha=0)
        return by_interval(above.values, lambda one: one.mean <= 0.01)

    return Claim(
        "no-barrier-from-the-start",
        "at the sparsest level the training loss rises nowhere above its start on the line from "
        "the ticket's initial weights to its trained ones",
        f"{OWN}, in the manner of 1412.6544",
        "mean rise at most 0.01",
        exact=False,
        test=_sparsest("path", judge),
    )


def _predicted() -> Claim:
    """Claims that the jump of the first step is that of the second-order expansion."""

    def test(results: xarray.Dataset) -> Evidence:
        if "jump_jump" not in results or results.sizes["level"] < 2:
            return not_computable("needs two levels")
        here = results.sel(removal="smallest", level=1)
        ratio = (here["jump_linear"] + here["jump_quadratic"]) / here["jump_jump"]
        return by_interval(ratio.values, lambda one: 0.5 <= one.mean <= 2)

    return Claim(
        "first-jump-is-quadratic",
        "the loss's second-order expansion predicts the jump of removing the smallest weights "
        "from the dense network",
        f"{OWN}; the expansion is that of LeCun, Denker and Solla 1989",
        "mean of prediction / jump from 0.5 to 2",
        exact=False,
        test=test,
    )


def _sparsest(variable: str, judge: Test) -> Test:
    """Makes a test at the last level, if it is sparse and was measured."""

    def test(results: xarray.Dataset) -> Evidence:
        density = float(np.atleast_2d(results["density"].values)[0, -1])
        if variable not in results or density > SPARSE:
            return not_computable(f"needs a level at {SPARSE:.0%} or less, got {density:.1%}")
        return judge(results.isel(level=-1))

    return test
