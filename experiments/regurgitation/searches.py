"""The searches that are compared, and which of them a run that is read does not hold."""

import dataclasses

from experiments.common.experiment import Problem
from experiments.common.going_on import Further
from experiments.regurgitation import successive
from experiments.regurgitation.choices import Config
from jaxticket.errors import TicketError
from jaxticket.imp import DEFAULT, Variant
from jaxticket.population import Plan
from jaxticket.rewind import Action, reinit, rewind

SEARCHES: dict[str, Action] = {"ticket": rewind, "reinit": reinit}
"""Where each round of a search starts."""


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists both searches at every strength.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    return _variants(problem, Variant())


def _variants(problem: Problem, base: Variant) -> dict[str, Variant]:
    strengths: tuple[float, ...] = problem.config.strengths
    return {
        successive.name(search, strength): dataclasses.replace(
            base, action=action, repulsion=strength
        )
        for search, action in SEARCHES.items()
        for strength in strengths
    }


def beyond(problem: Problem) -> Further:
    """Lists the searches that a run which is read does not hold: all but its tickets without term.

    Args:
      problem: of the run.

    Returns:
      What is trained besides.

    Raises:
      TicketError: if the run's search is not one of tickets, which the others could be besides.
    """
    config, searches = problem.config, problem.variants or {"": Variant()}
    base = searches[config.variant or next(iter(searches))]
    _check_native(config, base.over(dataclasses.replace(DEFAULT, pruning=config.pruning)))
    native = successive.name("ticket", 0.0)
    others = {name: one for name, one in _variants(problem, base).items() if name != native}
    own = dataclasses.replace(config, arms=("ticket",))
    plan = Plan.by_name(config.plan, config.replicates * len(others))
    return Further(native, problem._replace(config=own, variants=others, plan=plan))


def _check_native(config: Config, search: Variant) -> None:
    which = f"--run {config.run}" + f" --variant {config.variant}" * bool(config.variant)
    for what, got, wanted in (
        ("pruning", search.pruning, "iterative"),
        ("retraining", search.retraining, "weights"),
        ("restart", search.action, rewind),
        ("repulsion", search.repulsion, 0.0),
    ):
        if got != wanted:
            names = [getattr(one, "__name__", one) for one in (got, wanted)]
            raise TicketError(
                f"{which}: is a search with {what} {names[0]}, expected {names[1]}: rounds that "
                "rewind, without the term; name another --variant, or another run"
            )
