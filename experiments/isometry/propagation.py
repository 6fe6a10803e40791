"""Claims and tables about signal propagation: singular values of Jacobians, stage by stage."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from rich import box
from rich.table import Table

from experiments.common.judging import judged
from experiments.common.sweeps import Cell
from jaxticket import masks
from jaxticket.analysis import (
    Claim,
    jacobian_singular_values,
    jacobian_summary,
)
from jaxticket.analysis.claims import Evidence, by_interval, greater, not_computable
from jaxticket.errors import TicketError
from jaxticket.population import over, populate, share
from jaxticket.result import Result
from jaxticket.rewind import Action

STAGES = ("dense", "pruned", "restarted", "trained")
"""The trained dense network; without what the first pruning takes; what is trained again, before
that and after it."""

EXACT = 1e-3
"""How far singular values in float32 may be from what they are by construction, relatively."""


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
    objective = problem.family({}).objective
    few = jax.tree.map(lambda leaf: leaf[: problem.config.examples], problem.dataset.test)
    inputs = share(jax.device_get(objective.prepare(jax.tree.map(jnp.asarray, few))), problem.plan)
    networks = [
        stages(result, name, replicate, actions[name])
        for name in result.variants
        for replicate in range(result.replicates)
    ]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(one for one, _ in networks))

    def one(network: Any, inputs: Any) -> Any:
        params, model_state = network
        values = jacobian_singular_values(objective.apply, params, model_state, inputs)
        return jacobian_summary(values)

    run = populate(one, problem.plan)
    size = problem.plan.padded(problem.plan.devices)
    found: Any = over(lambda own, number: run(own, inputs, number=number), size)(together)
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


def _orthogonal(values: xarray.DataArray) -> xarray.DataArray:
    return values.sel(variant=[name for name in values["variant"].values if "orthogonal" in name])


def isometries(source: str) -> Claim:
    """Claims that OrthP makes every remaining matrix an isometry."""
    return _exact(
        "orthogonalized-matrices",
        "all singular values of every remaining matrix are the gain after OrthP",
        source,
        lambda results: _orthogonal(results["matrix_error"]),
    )


def exactly_one(source: str) -> Claim:
    """Claims that a linear network of isometries has Jacobians whose singular values are all 1."""

    def error(results: xarray.Dataset) -> xarray.DataArray:
        return abs(_orthogonal(results["spectrum"]).sel(stage="restarted") - 1)

    statement = "all singular values of the linear network's Jacobian are 1 after OrthP"
    return _exact("linear-network-isometry", statement, source, error)


def _exact(
    name: str, statement: str, source: str, error: Callable[[xarray.Dataset], xarray.DataArray]
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        if "matrix_error" not in results:
            return not_computable("needs two levels")
        largest = float(error(results).max())
        return Evidence(largest, None, largest < EXACT)

    expected = f"largest relative error below {EXACT:g}"
    return Claim(name, statement, source, expected, exact=True, test=test)


def collapses(variant: str, source: str) -> Claim:
    """Claims that pruning makes the mean singular value ten times smaller, and more."""
    return _logarithms(
        f"singular-values-collapse-{_slug(variant)}",
        f"{_share(variant)}: pruning lowers the mean singular value more than ten times",
        source,
        "95 % interval of log10(dense / pruned) above 1",
        lambda log: greater(log(variant, "dense") - log(variant, "pruned") - 1),
    )


def restored(variant: str, source: str) -> Claim:
    """Claims that the mean singular value is about 1 after OrthP."""

    def judge(log: Callable[[str, str], np.ndarray]) -> Evidence:
        return by_interval(log(variant, "restarted"), lambda one: abs(one.mean) <= 0.3)

    return _logarithms(
        f"orthogonalization-restores-{_slug(variant)}",
        f"{_share(variant)}: after OrthP the mean singular value is about 1",
        source,
        "mean log10 within ±0.3",
        judge,
    )


def comes_back_faster(large: str, small: str, source: str) -> Claim:
    """Claims that the large rate leaves larger singular values than the small one."""
    return _logarithms(
        f"large-rate-restores-{_slug(large)}",
        f"{_share(large)}: without OrthP, the large rate trains the mean singular value up further",
        source,
        "95 % interval of log10(large / small) above 0",
        lambda log: greater(log(large, "trained") - log(small, "trained")),
    )


def _logarithms(
    name: str,
    statement: str,
    source: str,
    expected: str,
    judge: Callable[[Callable[[str, str], np.ndarray]], Evidence],
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        if "mean_singular_value" not in results:
            return not_computable("needs two levels")
        means = results["mean_singular_value"]
        return judge(lambda name, stage: np.log10(means.sel(variant=name, stage=stage).values))

    return Claim(name, statement, source, expected, exact=False, test=test)


def gap_closes(
    large: Cell, small: Cell, large_after: Cell, small_after: Cell, percent: float, source: str
) -> Claim:
    """Claims that OrthP makes the gap between the rates smaller."""

    def judge(*found: np.ndarray) -> Evidence:
        at_large, at_small, at_large_after, at_small_after = found
        return greater(np.abs(at_large - at_small) - np.abs(at_large_after - at_small_after))

    return _accuracies(
        f"gap-narrows-{_slug(large.variant)}",
        f"{_share(large.variant)}: the rates' gap in accuracy is smaller with OrthP than without",
        source,
        "95 % interval of the difference of gaps above 0",
        (large, small, large_after, small_after),
        percent,
        judge,
    )


def alike(large: Cell, small: Cell, percent: float, tolerance: float, source: str) -> Claim:
    """Claims that two rates are as accurate as each other, to a tolerance stated first."""

    def judge(at_large: np.ndarray, at_small: np.ndarray) -> Evidence:
        return by_interval(at_large - at_small, lambda one: abs(one.mean) <= tolerance)

    return _accuracies(
        f"gap-closed-{_slug(large.variant)}",
        f"{_share(large.variant)}: with OrthP large and small rate are as accurate as each other",
        source,
        f"mean difference within ±{tolerance:.0%}",
        (large, small),
        percent,
        judge,
    )


def _accuracies(
    name: str,
    statement: str,
    source: str,
    expected: str,
    cells: tuple[Cell, ...],
    percent: float,
    judge: Callable[..., Evidence],
) -> Claim:
    test = judged(judge, *(cell.at(percent) for cell in cells))
    return Claim(name, statement, source, expected, exact=False, test=test)


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


def _share(variant: str) -> str:
    return f"{float(variant.split()[0]):.0%} of neurons pruned"


def _slug(variant: str) -> str:
    return variant.split()[0]
