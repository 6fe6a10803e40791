"""By what pairs are measured: the learner of their search, and their batch statistics."""

from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from jaxticket.analysis import recomputing
from jaxticket.analysis.interpolation import Recompute, Statistics
from jaxticket.keys import derive
from jaxticket.learners import Learner
from jaxticket.result import Result

STATISTICS: tuple[Statistics, ...] = get_args(Statistics)
"""Which batch statistics a network between two others has; `interpolated` first."""


class Measuring(NamedTuple):
    """What measures the networks of a search.

    Attributes:
      learner: of its hyperparameters.
      state: lends networks all but their params and model state.
      recompute: gives a network the statistics of its own weights.
      labels: `int[examples]`, classes of the test split, of the search's task.
    """

    learner: Learner
    state: Any
    recompute: Recompute
    labels: np.ndarray

    def by(self, statistics: Statistics) -> dict[str, Any]:
        """Gives what `barriers` and `barrier_matrix` are told of batch statistics."""
        recompute = self.recompute if statistics == "recomputed" else None
        return {"statistics": statistics, "recompute": recompute}


def measuring(problem: Any, result: Result) -> dict[str, Measuring]:
    """Makes what measures the networks of each search.

    Args:
      problem: gives the family, the variants, the data and what was chosen.
      result: the networks.

    Returns:
      By search. Those of the same hyperparameters share it, since a program is remembered by the
      learner that it was compiled for.
    """
    variants = problem.variants or {}
    made: list[tuple[Any, Measuring]] = []
    found = {}
    for name in result.variants:
        own = variants[name].hyperparameters if name in variants else None
        same = [one for given, one in made if given == own]
        found[name] = same[0] if same else _measuring(problem, own)
        made.append((own, found[name]))
    return found


def _measuring(problem: Any, own: Any) -> Measuring:
    config, given = problem.config, {} if own is None else own
    learner = problem.family(given)
    few = jax.tree.map(lambda leaf: leaf[: config.statistics_examples], problem.dataset.train)
    key = derive(jax.random.key(config.seed), "statistics")
    recompute = recomputing(learner, few, config.batch_size, config.statistics_passes, key)
    labels = np.asarray(problem.dataset.test.labels)
    if labels.ndim == 2:
        # Of stacked tasks the search knows one.
        labels = labels[:, given["task"]]
    return Measuring(learner, any_state(learner), recompute, labels)


def any_state(learner: Learner) -> Any:
    """Makes a state that lends networks all but their params and model state, by compiling none.

    Args:
      learner: whose.

    Returns:
      The state, zeros on the host.
    """
    like = jax.eval_shape(learner.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
