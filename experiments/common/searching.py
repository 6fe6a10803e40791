"""The search of a problem: what `find_tickets` is told of a configuration."""

import dataclasses
from typing import Any

import jax

from experiments.common.problem import Problem
from experiments.common.session import Search
from jaxticket import criteria, find_tickets
from jaxticket.arms import check_arms
from jaxticket.costs import Ledger
from jaxticket.imp import DEFAULT, Scoring, Variant, check_variants
from jaxticket.imp.groups import replicates_together
from jaxticket.imp.lineages import make_lineages
from jaxticket.imp.setup import Setup
from jaxticket.imp.variants import make_schedules
from jaxticket.keys import replicate_keys
from jaxticket.masks import ones
from jaxticket.recipes import make_prunable
from jaxticket.records import Store


def check_sweep(problem: Problem) -> None:
    """Checks a sweep before anything is written.

    Args:
      problem: with its variants.

    Raises:
      TicketError: for a variant that cannot run, by name.
    """
    config = problem.config
    default = dataclasses.replace(DEFAULT, **_choices(problem))
    dense = ones(problem.shapes, make_prunable(config))
    chosen = check_variants(problem.variants or {}, default, problem.protocol)
    make_schedules(chosen, dense, config.levels, empty_layers=config.empty_layers)


def lay_out(problem: Problem) -> Setup:
    """Lays out the search of a problem as `find_tickets` will, but for its scoring examples.

    Args:
      problem: with its variants and its plan.

    Returns:
      All that what it keeps depends on.
    """
    config = problem.config
    default = dataclasses.replace(
        DEFAULT, **_choices(problem), criterion=criteria.by_name(config.criterion)
    )
    prunable, keys = make_prunable(config), replicate_keys(jax.random.key(0), config.replicates)
    lineages = make_lineages(
        problem.variants or {"": Variant()},
        default,
        keys,
        ones(problem.shapes, prunable),
        config.levels,
        problem.protocol,
        empty_layers=config.empty_layers,
    )
    setup = Setup(
        family=problem.family if lineages.hyperparameters != () else lambda _: problem.family({}),
        lineages=lineages,
        protocol=problem.protocol,
        prunable=prunable,
        arms=check_arms(config.arms),
        levels=config.levels,
        replicates=config.replicates,
        plan=problem.plan,
        ledger=Ledger(),
    )
    return setup._replace(together=replicates_together(setup))


def search_of(problem: Problem, source: Store | None, ledger: Ledger) -> Search:
    """Makes the search of a problem.

    Args:
      problem: with its variants and its plan.
      source: holds the networks, of a run that is read; `None` to train them.
      ledger: what the search counts in.

    Returns:
      `search(store, on_progress) -> result`.
    """
    config, variants = problem.config, problem.variants
    swept = any(one.hyperparameters is not None for one in (variants or {}).values())
    return lambda store, on_progress: find_tickets(
        problem.family if swept else problem.family({}),
        problem.splits,
        jax.random.key(config.seed),
        problem.protocol,
        **_choices(problem),
        levels=config.levels,
        replicates=config.replicates,
        criterion=criteria.by_name(config.criterion),
        prunable=make_prunable(config),
        arms=config.arms,
        empty_layers=config.empty_layers,
        variants=variants,
        plan=problem.plan,
        streaming=config.streaming,
        store=source or store,
        ledger=ledger,
        on_progress=on_progress,
        keep_every=config.keep_every,
    )


def _choices(problem: Problem) -> dict[str, Any]:
    """Gives what a variant may choose otherwise."""
    config = problem.config
    return {
        "allocation": problem.allocation(),
        "rewind_step": config.rewind_step.at(problem.steps_an_epoch),
        "rewind_moments": config.rewind_moments,
        "pruning": config.pruning,
        "scoring": Scoring(config.scoring_examples),
    }
