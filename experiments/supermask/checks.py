"""Sanity checks of learned masks, untrained: shuffled, over other weights, of inverted scores."""

from typing import Any

import jax
import numpy as np
import xarray
from rich.table import Table

from experiments.common import sweeps
from experiments.common.experiment import Problem
from experiments.common.judging import Values, judged
from experiments.supermask import learned
from jaxticket import learned_masks, masks, recipes
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import greater
from jaxticket.imp import Variant
from jaxticket.keys import derive, replicate_keys
from jaxticket.population import over, populate
from jaxticket.result import Result

CONTROLS = {
    "ticket": "as learned",
    "shuffle": "shuffled in each layer",
    "reinit": "over other weights of the same kind",
    "inverted": "that of its lowest scores, as many in each layer",
}
"""What the mask is, or what is under it."""

OWN = "this project's own claim; the checks are those of Frankle et al. 2021, arXiv 2009.08576"


def accuracy(problem: Problem, result: Result, variants: dict[str, Variant]) -> np.ndarray:
    """Evaluates every learned mask, and its controls, without any training of weights or scores.

    Args:
      problem: what was run.
      result: the networks.
      variants: by name, in the result's order.

    Returns:
      Test accuracy, `float[variants, controls, replicates]`.
    """
    record, number = result.tickets(0), result.replicates
    keys = replicate_keys(jax.random.key(problem.config.seed), number)
    given = [variants[name].hyperparameters for name in record.variants]
    own = jax.tree.map(lambda *values: np.array(values, np.float32), *given)
    rows = (record.params, record.model_state, own, keys[np.array(record.replicates)])
    size = problem.plan.padded(number)
    check = over(populate(_check(problem), problem.plan, compile_fast=True), size)
    found = np.asarray(check(rows))
    return found.reshape(len(variants), number, len(CONTROLS)).transpose(0, 2, 1)


def _check(problem: Problem) -> Any:
    """Makes the function that evaluates one network's mask in four ways."""
    config, test = problem.config, problem.dataset.test
    plain = recipes.make_learner(config, problem.dataset, precision=config.precision)

    def check(row: Any) -> jax.Array:
        params, model_state, own, key = row
        mask = learned.mask_at(own["density"], params, model_state)
        weights = model_state["mask"]["weights"]
        # Another initialisation, as of the control `reinit` of a search.
        fresh = problem.family(own).init(derive(key, "reinit", 0)).model_state["mask"]["weights"]
        state = plain.init(key)._replace(model_state=model_state["network"])

        def correct(weights: Any, mask: Any) -> jax.Array:
            here = state._replace(params=masks.apply(weights, mask))
            examples = jax.tree.map(jax.numpy.asarray, test)
            return plain.evaluate(here, mask, examples)["accuracy"]

        shuffled = masks.shuffle(derive(key, "shuffle", 0), mask)
        inverted = inverted_at(own["density"], params)
        pairs = (weights, mask), (weights, shuffled), (fresh, mask), (weights, inverted)
        return jax.numpy.stack([correct(*pair) for pair in pairs])

    return check


def inverted_at(density: Any, scores: Any) -> Any:
    """Gives the mask of the scores' order turned round: what the learned mask keeps last.

    Args:
      density: the share, possibly traced.
      scores: params of a network whose mask is learned; `None` where not prunable.

    Returns:
      The mask, with as many weights of each layer as the learned one.
    """
    # Turned round in their places too: of equal scores the last is kept, not again the first.
    turned = jax.tree.map(lambda score: jax.numpy.flip(-jax.numpy.abs(score)), scores)
    return jax.tree.map(jax.numpy.flip, learned_masks.supermask(turned, density))


def claims(weights: str, share: float) -> list[Claim]:
    """Claims that a learned mask is of its places, of its weights and of its scores' order.

    Args:
      weights: the kind of frozen weights.
      share: what is kept.

    Returns:
      The claims.
    """
    slug, ticket = weights.replace(" ", "-"), _values(weights, share, "ticket")
    return [
        Claim(
            f"{slug}-mask-more-than-{control}-{100 * share:g}",
            f"{weights}: keeping {share:.0%}, the learned mask is more accurate than {words}",
            OWN,
            "95 % interval of the difference above 0",
            exact=False,
            test=judged(
                lambda one, other: greater(one - other), ticket, _values(weights, share, control)
            ),
        )
        for control, words in list(CONTROLS.items())[1:]
    ]


def _values(weights: str, share: float, control: str) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        if share not in results["share"].values:
            return f"{weights} at {share:.1%}"
        # A run that finished before there was such a control.
        if control not in results["control"].values:
            return f"the control {control}"
        return results["check_accuracy"].sel(weights=weights, share=share, control=control).values

    return values


def table(results: xarray.Dataset) -> Table:
    """Makes the table of learned masks and their controls by share.

    Args:
      results: with `check_accuracy`.

    Returns:
      A rich table.
    """
    found = results["check_accuracy"].transpose("weights", "control", "share", "replicate")
    rows = {
        f"{kind} {control}": list(found.sel(weights=kind, control=control).values)
        for kind in found["weights"].values
        for control in found["control"].values
    }
    columns = [f"{share:.1%}" for share in found["share"].values]
    return sweeps.make_table("learned masks and their controls, untrained", results, columns, rows)
