"""Barriers between all pairs of a list of networks."""

from typing import Any

import jax
import numpy as np

from jaxticket.analysis.comparable import ends
from jaxticket.analysis.connectivity.lines import along_lines, line_paths
from jaxticket.analysis.interpolation import Recompute, Statistics, alphas
from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.population import Plan, share, to_host
from jaxticket.types import Batch


def barrier_matrix(
    learner: Learner,
    state: LearnerState,
    networks: Any,
    examples: Batch,
    plan: Plan,
    points: int = 30,
    metric: str = "accuracy",
    *,
    statistics: Statistics = "interpolated",
    recompute: Recompute | None = None,
) -> dict[str, np.ndarray]:
    """Measures the barrier between any two of some networks, each pair once, as one population.

    B_ij = sup_α E(α W_i + (1 − α) W_j) − (E(W_i) + E(W_j)) / 2, which is symmetric, and 0 for
    i = j. A pair has the bits that `barriers` gives it, from the same compiled program.

    Args:
      learner: as in `barriers`, and so are all others that are not said here.
      state: any one state of the learner.
      networks: along axis 0, at least two, such as `together` puts side by side.
      examples: the split on which E is measured.
      plan: how the pairs run.
      points: how many α.
      metric: `accuracy` or `loss`.
      statistics: which batch statistics a network on a line has.
      recompute: for those that are recomputed.

    Returns:
      `barriers`, `float64[n, n]`, NaN in the row and column of a network whose loss is NaN, on the
      diagonal too; `errors`, `float32[n]`, E(W_i); `pairs`, `int[n (n − 1) / 2, 2]`, i < j;
      `curves`, `float32[pairs, points]`, W_j at α = 0; and `alphas`, `float32[points]`.

    Raises:
      TicketError: for fewer than two networks, and as `barriers`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxticket.learners import TrainState
      >>> evaluate = lambda state, mask, x: {"loss": jnp.mean(x - state.params["w"] ** 2)}
      >>> learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
      >>> state, x = TrainState({"w": np.float32(0)}, {}, ()), np.ones(3, np.float32)
      >>> three = TrainState({"w": np.array([-1.0, 1.0, -1.0], np.float32)}, {}, ())
      >>> barrier_matrix(learner, state, three, x, Plan("map"), 31, "loss")["barriers"].tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]

    Source: of pairs 1912.05671, section 2; as a matrix over replicates and levels this project's.
    """
    own = to_host(ends(networks))
    number = jax.tree.leaves(own)[0].shape[0]
    if number < 2:
        raise TicketError(f"networks: got {number}, expected at least two along axis 0")
    first, second = np.triu_indices(number, k=1)
    pairs = np.stack([first, second], axis=1)
    paths = line_paths(learner, plan, points, statistics, recompute)
    given = share((state, examples), plan)
    found = along_lines(paths, (own, own), pairs, given, plan, metric)
    errors = np.zeros(number, found["curves"].dtype)
    errors[second], errors[first] = found["curves"][:, 0], found["curves"][:, -1]
    matrix = np.zeros((number, number))
    matrix[first, second] = matrix[second, first] = found["barriers"]
    # Not 0 where the network has no error: NaN and infinity less themselves are NaN.
    with np.errstate(invalid="ignore"):
        matrix[np.diag_indices(number)] = errors.astype(np.float64) - errors
    return {
        "barriers": matrix,
        "errors": errors,
        "pairs": pairs,
        "curves": found["curves"],
        "alphas": alphas(points),
    }
