"""Signal propagation, measured and shown: singular values of Jacobians, stage by stage."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from rich import box
from rich.table import Table

from jaxticket import masks
from jaxticket.analysis import jacobian_singular_values, jacobian_summary
from jaxticket.errors import TicketError
from jaxticket.population import over, populate, share
from jaxticket.result import Result
from jaxticket.rewind import Action

STAGES = ("dense", "pruned", "restarted", "trained")
"""The trained dense network; without what the first pruning takes; what is trained again, before
that and after it."""


def check_examples(number: int) -> None:
    """Checks how many examples Jacobians are taken at.

    Args:
      number: as given.

    Raises:
      TicketError: for fewer than one.
    """
    if number < 1:
        raise TicketError(f"--examples: got {number}, expected at least 1")


def measured(
    problem: Any, result: Result, actions: Mapping[str, Action], gain: float
) -> dict[str, Any]:
    """Measures all networks of the first pruning at all stages, as one population.

    Args:
      problem: gives the objective, the test split and the plan.
      result: the networks, at least two levels of them.
      actions: of each variant.
      gain: that the singular values of restarted matrices are compared with.

    Returns:
      `mean_singular_value` and `condition_number` (variant, stage, replicate), `spectrum` (variant,
      stage, replicate, place) and `matrix_error` (variant, replicate), the largest relative
      distance of a restarted matrix's singular values from the gain.
    """
    if result.levels < 2:
        return {}
    networks = [
        stages(result, name, replicate, actions[name])
        for name in result.variants
        for replicate in range(result.replicates)
    ]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(one for one, _ in networks))
    found = _summaries(problem, together)
    shape = len(result.variants), result.replicates, len(STAGES)
    laid = lambda values: np.moveaxis(values.reshape(*shape, *values.shape[1:]), 1, 2)  # noqa: E731
    dims = ("variant", "stage", "replicate")
    errors = [matrix_error(params, mask, gain) for _, (params, mask) in networks]
    return {
        "mean_singular_value": (dims, laid(found.mean)),
        "condition_number": (dims, laid(found.condition_number)),
        "spectrum": ((*dims, "place"), laid(found.spectrum)),
        "matrix_error": (("variant", "replicate"), np.reshape(errors, shape[:2])),
        "stage": ("stage", list(STAGES)),
    }


def _summaries(problem: Any, networks: Any) -> Any:
    """Gives what `jacobian_summary` says of every network, with the networks along axis 0."""
    objective = problem.family({}).objective
    few = jax.tree.map(lambda leaf: leaf[: problem.config.examples], problem.dataset.test)
    inputs = share(jax.device_get(objective.prepare(jax.tree.map(jnp.asarray, few))), problem.plan)

    def one(network: Any, inputs: Any) -> Any:
        params, model_state = network
        values = jacobian_singular_values(objective.apply, params, model_state, inputs)
        return jacobian_summary(values)

    run = populate(one, problem.plan)
    size = problem.plan.padded(problem.plan.devices)
    return over(lambda own, number: run(own, inputs, number=number), size)(networks)


def stages(result: Result, name: str, replicate: int, action: Action) -> Any:
    """Gives params and model states of one network by stage, and its restarted params with mask.

    Args:
      result: the networks.
      name: the variant.
      replicate: which.
      action: of the variant; one that draws nothing.

    Returns:
      Params and model states with the stages along axis 0; the restarted params and the mask.
    """
    dense, trained = (result.network("ticket", level, replicate, name) for level in (0, 1))
    on_device = lambda tree: jax.tree.map(jnp.asarray, tree)  # noqa: E731
    mask = on_device(trained.mask)
    pruned = masks.apply(on_device(dense.params), mask)
    restarted = action(jax.random.key(0), pruned, pruned, mask)
    params = [dense.params, pruned, restarted, trained.params]
    states = [dense.model_state] * 3 + [trained.model_state]
    stacked = (jax.tree.map(lambda *leaves: np.stack(leaves), *trees) for trees in (params, states))
    return tuple(stacked), (jax.device_get(restarted), trained.mask)


def matrix_error(params: Any, mask: Any, gain: float) -> float:
    """Gives how far remaining matrices are from isometries: max |σ / g − 1|, over all layers.

    Args:
      params: on the host.
      mask: of whole rows and columns.
      gain: g.

    Returns:
      The largest distance.
    """
    errors = []
    for leaf, kept in zip(_prunable(params, mask), jax.tree.leaves(mask), strict=True):
        rows, columns = np.asarray(kept).any(axis=1), np.asarray(kept).any(axis=0)
        left = np.asarray(leaf, np.float64)[np.ix_(rows, columns)]
        errors.append(np.abs(np.linalg.svd(left, compute_uv=False) / gain - 1).max())
    return float(max(errors))


def _prunable(params: Any, mask: Any) -> list[Any]:
    return jax.tree.leaves(jax.tree.map(lambda p, m: None if m is None else p, params, mask))


def tables(results: xarray.Dataset) -> list[Table]:
    """Makes the tables of mean singular values and condition numbers, a column a stage.

    Args:
      results: with what `measured` gives.

    Returns:
      Rich tables; none without a pruned level.
    """
    if "mean_singular_value" not in results:
        return []
    titles = {
        "mean_singular_value": "mean Jacobian singular value",
        "condition_number": "condition number (median of examples)",
    }
    return [_table(title, results[name]) for name, title in titles.items()]


def _table(title: str, values: xarray.DataArray) -> Table:
    number = values.sizes["replicate"]
    caption = f"medians of {number} replicates"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for stage in STAGES:
        table.add_column(stage, justify="right")
    for name in values["variant"].values:
        row = values.sel(variant=name).median("replicate")
        table.add_row(str(name), *(f" {float(row.sel(stage=stage)):.3g}" for stage in STAGES))
    return table
