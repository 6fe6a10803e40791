"""Claims about flows, and about what tickets lose where flows differ."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray
from scipy import stats

from experiments.universality.claiming import OWN, losses
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, greater, not_computable


def if_global(claim: Claim, kept: Mapping[str, int]) -> Claim:
    """Leaves a claim about flows undecided where layers do not compete.

    Args:
      claim: about flows.
      kept: what a level keeps, as schedules say.

    Returns:
      The claim.
    """
    if set(kept) == {"*"}:
        return claim
    return claim._replace(test=lambda results: not_computable("needs --scope global in the run"))


def spread_between_tasks(tasks: Sequence[str]) -> Claim:
    """Claims that flows of different tasks differ more than replicates of one task."""

    def test(results: xarray.Dataset) -> Evidence:
        there = [task for task in tasks if task in results["source"]]
        if len(there) < 2 or results.sizes["replicate"] < 2:
            return not_computable("needs two tasks and two replicates")
        return greater(spread_gap(results, there))

    return Claim(
        "flows-differ-more-between-tasks",
        "exponents of different tasks are further apart than those of one task's replicates",
        f"{OWN}; after 2110.03210",
        "95 % interval of (between - within) above 0, replicates of other initial weights",
        exact=False,
        test=test,
    )


def spread_gap(results: xarray.Dataset, tasks: Sequence[str]) -> np.ndarray:
    """Gives how much further a replicate is from other tasks' replicates than from its own's.

    Only replicates with other initial weights are compared, in both cases.

    Args:
      results: with `flow_distance`.
      tasks: which.

    Returns:
      `float64[replicates]`.
    """
    distance = results["flow_distance"].sel(source=list(tasks), target=list(tasks)).values
    number = distance.shape[-1]
    own, another = np.eye(len(tasks), dtype=bool), ~np.eye(number, dtype=bool)
    means = []
    for replicate in range(number):
        rows = distance[:, :, replicate][:, :, another[replicate]].mean(axis=-1)
        means.append(rows[~own].mean() - rows[own].mean())
    return np.array(means)


def loss_grows_with_distance() -> Claim:
    """Claims that a ticket loses the more the further apart the flows of both tasks are.

    Spearman's rank correlation over all ordered pairs, in each replicate.
    """

    def test(results: xarray.Dataset) -> Evidence:
        lost, distances = loss_and_distance(results)
        if lost.shape[1] < 3:
            return not_computable("needs three pairs of a source and another target")
        pairs = zip(lost, distances, strict=True)
        return greater(np.array([_rank_correlation(*pair) for pair in pairs]))

    return Claim(
        "transfer-loss-grows-with-flow-distance",
        "over pairs of source and target, tickets lose more the further apart the flows are",
        f"{OWN}; after 2110.03210",
        "95 % interval of Spearman's rank correlation above 0",
        exact=False,
        test=test,
    )


def loss_and_distance(results: xarray.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Pairs what each transfer loses with how far apart the flows are.

    Args:
      results: with `transfer_accuracy`, `native_accuracy` and `flow_distance`.

    Returns:
      Loss against native and distance within the replicate, `float64[replicates, pairs]` each, a
      pair for each source and other target.
    """
    elsewhere = ~np.eye(results.sizes["source"], dtype=bool)
    lost = losses(results).transpose("replicate", "source", "target").values
    distance = results["flow_distance"].transpose("replicate", "other", "source", "target").values
    own = np.arange(len(distance))
    return lost[:, elsewhere], distance[own, own][:, elsewhere]


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    ranks = [stats.rankdata(one[known]) for one in (first, second)]
    if any(np.ptp(one) == 0 for one in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
