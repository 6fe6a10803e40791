"""Which networks a figure shows, and their mean and range over replicates."""

import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxticket.analysis import at_early_stop, at_end, at_start
from jaxticket.errors import TicketError, unknown

if TYPE_CHECKING:
    import xarray


class Range(NamedTuple):
    """Mean, least and greatest over replicates; NaN where no replicate has a value.

    Attributes:
      mean: `float64`, without the dimension `replicate`.
      low: the same shape.
      high: the same shape.
      lost: `bool`, the same shape: some replicate is not finite, and another one is.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lost: np.ndarray

    @property
    def bars(self) -> np.ndarray:
        """Distances from the mean to the least and the greatest, `[2, ...]`, for `errorbar`."""
        # The mean of equal values can pass them by a rounding, and matplotlib refuses that.
        return np.maximum(np.stack([self.mean - self.low, self.high - self.mean]), 0)


def over_replicates(values: "xarray.DataArray") -> Range:
    """Summarises values over replicates, leaving out those that are not finite.

    Args:
      values: with a dimension `replicate`.

    Returns:
      Mean, range, and where they lack a replicate.

    Example:
      >>> import xarray
      >>> over_replicates(xarray.DataArray([1.0, 2.0, float("nan")], dims="replicate")).mean
      array(1.5)
    """
    known = values.astype(np.float64).where(np.isfinite(values))
    count = known.count("replicate")
    mean = known.sum("replicate") / count.where(count > 0)
    low = known.fillna(np.inf).min("replicate").where(count > 0)
    high = known.fillna(-np.inf).max("replicate").where(count > 0)
    lost = (count > 0) & (count < values.sizes["replicate"])
    return Range(mean.values, low.values, high.values, lost.values)


def choose_arms(results: "xarray.Dataset", arms: Sequence[str] | None) -> list[str]:
    """Checks the names of arms against what the results hold; None means all of them.

    Raises:
      TicketError: for an arm that is not there, or none at all.
    """
    present = [str(arm) for arm in results["arm"].values]
    chosen = present if arms is None else list(dict.fromkeys(arms))
    for arm in chosen:
        if arm not in present:
            raise unknown("arm", arm, present)
    if not chosen:
        raise TicketError(f"arms: got none, expected some of {', '.join(present)}")
    return chosen


def choose_metric(results: "xarray.Dataset", metric: str) -> "xarray.DataArray":
    """Finds a curve by its name.

    Raises:
      TicketError: if the results have no such curve; the error lists those they have.
    """
    curves = [str(name) for name, values in results.data_vars.items() if "step" in values.dims]
    if metric not in curves:
        usual = "validation_loss" if "validation_loss" in curves else next(iter(curves), "...")
        raise TicketError(
            f"{unknown('metric', metric, curves)}; choose one of them, e.g. metric={usual!r}"
        )
    return results[metric]


def has_curve(results: "xarray.Dataset", curve: "xarray.DataArray") -> bool:
    """Says whether a curve's split was measured wherever valid networks were evaluated, or nowhere.

    Training and validation are, always; of training there is nothing at a network's first step.
    """
    split = str(curve.name).split("_", 1)[0]
    if split in ("train", "validation"):
        return True
    evaluated, measured = _finite(results, "train", "validation"), _finite(results, split)
    return not bool(measured.any()) or not bool((results["valid"] & evaluated & ~measured).any())


def _finite(results: "xarray.Dataset", *splits: str) -> Any:
    """Says where any metric of any of the splits is a number."""
    names = [
        name
        for name, values in results.data_vars.items()
        if "step" in values.dims and str(name).split("_", 1)[0] in splits
    ]
    return functools.reduce(
        operator.or_, (np.isfinite(results[name]) for name in names), np.bool_(False)
    )


def metric_label(curve: "xarray.DataArray") -> str:
    """Writes a curve's name with its unit, if it has one."""
    units = curve.attrs.get("units")
    return str(curve.name).replace("_", " ") + (f" ({units})" if units else "")


def stopped(results: "xarray.Dataset", metric: str | None) -> "xarray.DataArray":
    """Reads a curve at each network's early-stop step, or that step itself if no curve is named.

    Returns:
      (arm, level, replicate), NaN where a network is not valid or has no such step.

    Raises:
      TicketError: if the results have no early-stop steps.
    """
    if "early_stop_step" not in results:
        raise TicketError(
            "results: there is no early_stop_step, since the learner reports no validation_loss; "
            "plot learning_curves instead"
        )
    if metric is not None:
        return at_early_stop(results, metric)
    steps = results["early_stop_step"]
    return steps.where(results["valid"] & (steps >= 0))


def read(results: "xarray.Dataset", metric: str | None, step: str) -> "xarray.DataArray":
    """Reads a curve at `early_stop`, before training (`start`) or after it (`end`).

    Without a metric it is the early-stop step itself.

    Returns:
      (arm, level, replicate), NaN where a network is not valid.
    """
    readers = {"early_stop": stopped, "start": at_start, "end": at_end}
    if step not in readers:
        raise unknown("step", step, readers)
    return stopped(results, None) if metric is None else readers[step](results, metric)


def invalid_counts(results: "xarray.Dataset", arm: str) -> tuple[np.ndarray, int]:
    """Counts networks left out because they, or what gave their mask, diverged.

    Returns:
      How many at each level, `int64[levels]`; and how many replicates have any.
    """
    invalid = ~results["valid"].sel(arm=arm).astype(bool)
    return invalid.sum("replicate").values, int(invalid.any("level").sum())


def useless_somewhere(results: "xarray.Dataset", arm: str) -> np.ndarray:
    """Says at which levels some replicate is not above chance, or has an empty layer.

    Returns:
      `bool[levels]`; all False in results that were written before it was looked at.
    """
    marks = [results[name] > 0 for name in ("untrained", "empty_layers") if name in results]
    found = np.zeros(results.sizes["level"], bool)
    for mark in marks:
        found |= mark.sel(arm=arm).any("replicate").values
    return found
