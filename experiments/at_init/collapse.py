"""Layer collapse: how many layers a criterion empties in a deep and narrow network."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from rich import box
from rich.table import Table

from experiments.common.experiment import Problem
from jaxticket import criteria, learners, masks, models, prune
from jaxticket.allocate.global_scope import select_globally
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, greater, not_computable
from jaxticket.imp import Scoring, draw_scoring
from jaxticket.keys import replicate_keys
from jaxticket.population import over, populate

CRITERIA = ("random", "magnitude_at_initialization", "snip", "grasp", "synflow")
COMPRESSIONS = (10, 30, 100, 300, 1_000)
"""Weights over kept weights: ρ of 2006.05467."""
WIDTHS = (32,) * 10
"""Hidden layers of the network: ours; the paper shows VGG-16."""

TANAKA = "Tanaka et al. 2020, arXiv 2006.05467"


def emptied(problem: Problem, names: Sequence[str]) -> xarray.DataArray:
    """Counts the layers that each criterion leaves without a weight, at initialisation.

    Args:
      problem: gives the data, the plan, the seed and the number of replicates.
      names: of criteria.

    Returns:
      `int64` (criterion, compression, replicate).
    """
    dataset, config = problem.dataset, problem.config
    model = models.mlp(dataset.train.images.shape[1:], WIDTHS, dataset.classes)
    learner = learners.supervised(model, optax.sgd(0.1))
    keys = replicate_keys(jax.random.key(config.seed), config.replicates)
    examples = draw_scoring(Scoring(config.scoring_examples), dataset.train, keys)
    dense = masks.ones(jax.eval_shape(learner.init, keys[0]).params)
    size = sum(masks.sizes(dense).values())
    # Every network at every compression: a row each, compressions outermost.
    rows = jax.tree.map(lambda leaf: leaf[_tiled(config.replicates)], (keys, examples))
    kept = np.repeat(np.array([size // c for c in COMPRESSIONS], np.int32), config.replicates)
    counted = [
        over(
            populate(_count(name, learner, dense), problem.plan, compile_fast=True), _size(problem)
        )((*rows, kept))
        for name in names
    ]
    shape = len(names), len(COMPRESSIONS), config.replicates
    return xarray.DataArray(
        np.stack(counted).reshape(shape).astype(np.int64),
        dims=("criterion", "compression", "replicate"),
        coords={"criterion": list(names), "compression": list(COMPRESSIONS)},
    )


def _tiled(replicates: int) -> np.ndarray:
    return np.tile(np.arange(replicates), len(COMPRESSIONS))


def _size(problem: Problem) -> int:
    return problem.plan.padded(problem.config.replicates)


def _count(name: str, learner: learners.Learner, dense: Any) -> Callable[[Any], jax.Array]:
    """Makes the function that prunes one network at initialisation and counts empty layers."""
    criterion = criteria.by_name(name)

    def count(row: Any) -> jax.Array:
        key, examples, kept = row
        state = learner.init(key)
        evidence = criteria.Evidence(
            state.params, state.params, key, None, state.model_state, examples, learner.objective
        )
        mask = prune.prune_by(criterion, select_globally, evidence, dense, {"*": kept})
        empty = [~jnp.any(leaf) for leaf in jax.tree.leaves(mask)]
        return jnp.sum(jnp.stack(empty), dtype=jnp.int32)

    return count


def claims() -> list[Claim]:
    """Claims that SynFlow empties no layer, and SNIP pruned at once some."""

    def none(results: xarray.Dataset) -> Evidence:
        if "synflow" not in results["criterion"]:
            return not_computable("needs the criterion synflow")
        total = int(results["emptied"].sel(criterion="synflow").sum())
        return Evidence(float(total), None, total == 0)

    def some(results: xarray.Dataset) -> Evidence:
        if "snip" not in results["criterion"]:
            return not_computable("needs the criterion snip")
        values = results["emptied"].sel(criterion="snip", compression=COMPRESSIONS[-1]).values
        return greater(values.astype(np.float64))

    return [
        Claim(
            "synflow-empties-no-layer",
            f"SynFlow empties no layer of {len(WIDTHS) + 1}, at up to {COMPRESSIONS[-1]} times "
            "fewer weights",
            TANAKA,
            "0 empty layers",
            exact=False,
            test=none,
        ),
        Claim(
            "snip-empties-layers",
            f"SNIP pruned at once empties layers at {COMPRESSIONS[-1]} times fewer weights",
            TANAKA,
            "95 % interval of the number of empty layers above 0",
            exact=False,
            test=some,
        ),
    ]


def table(results: xarray.Dataset) -> Table:
    """Makes the table of empty layers: a row a criterion, a column a compression.

    Args:
      results: with `emptied`.

    Returns:
      A rich table.
    """
    values = results["emptied"].mean("replicate")
    made = Table(
        title=f"empty layers of {len(WIDTHS) + 1}, deep and narrow network, by weights kept",
        caption=f"means over {results.sizes['replicate']} replicates",
        box=box.SIMPLE_HEAD,
    )
    made.add_column("criterion")
    for compression in values["compression"].values:
        made.add_column(f"1/{compression:,}", justify="right")
    for name in values["criterion"].values:
        made.add_row(str(name), *(f"{v:.1f}" for v in values.sel(criterion=name).values))
    return made
