"""Which networks are of no use: no better than a guess, or with a layer that is gone."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxticket.analysis.early_stopping import at_early_stop, at_end

if TYPE_CHECKING:
    import xarray

LEVEL = 0.05
"""Of the test that a network is better than a guess."""


def chance_p_values(
    accuracy: Float[np.ndarray, "..."], examples: int, chance: float
) -> Float[np.ndarray, "..."]:
    """Gives the p values of the exact binomial test that an accuracy is above chance.

    P(B ≥ k) with B ~ Binomial(n, c), k of n examples correct, c the share of a guess.

    Args:
      accuracy: shares of the examples, NaN where there is none.
      examples: n.
      chance: c, in (0, 1).

    Returns:
      `float64` of the same shape; NaN where the accuracy is.

    Example:
      >>> chance_p_values(np.array([0.1, 0.9]), 10, 0.1).round(4).tolist()
      [0.6513, 0.0]
    """
    from scipy import stats

    correct = np.round(np.asarray(accuracy, np.float64) * examples)
    return stats.binom.sf(correct - 1, examples, chance)


def add_usefulness(
    results: "xarray.Dataset", test_labels: Shaped[np.ndarray, " examples *tasks"] | None = None
) -> "xarray.Dataset":
    """Marks networks of no use in a dataset.

    `empty_layers`: how many layers have no weight left; where one is empty that everything passes
    through, the network computes a constant. And, given the labels, `untrained`: whether the test
    accuracy that is reported, at early stop, is not above that of the best constant guess by the
    exact binomial test at 5 %: so is any network whose paths are all cut, whatever cuts them. A
    network that is not valid is not said to be untrained.

    Args:
      results: with `kept` and `valid`; with `test_accuracy` for `untrained`.
      test_labels: classes of the test examples; several a example, one a task, are not tested.

    Returns:
      The results with both variables, whose attributes say what was tested.

    Example:
      See `jaxticket.runs.to_dataset`.
    """
    empty = (results["kept"] == 0).sum("layer").astype(np.int64)
    found = results.assign(empty_layers=empty)
    found["empty_layers"].attrs["long_name"] = "layers without a weight"
    if test_labels is None or np.ndim(test_labels) != 1 or "test_accuracy" not in results:
        return found
    read = at_early_stop if "early_stop_step" in results else at_end
    accuracy = read(results, "test_accuracy").transpose(*results["valid"].dims)
    examples, chance = len(test_labels), guess(test_labels)
    p_values = chance_p_values(accuracy.values, examples, chance)
    found["untrained"] = accuracy.copy(data=~(p_values < LEVEL) & np.isfinite(accuracy.values))
    found["untrained"].attrs = {
        "long_name": "test accuracy is not above chance, exact binomial test",
        "chance": chance,
        "examples": examples,
        "level": LEVEL,
    }
    return found


def guess(labels: Int[np.ndarray, " examples"]) -> float:
    """Gives the accuracy of the best constant guess: the share of the most frequent class.

    Args:
      labels: classes.

    Returns:
      The share.

    Example:
      >>> guess(np.array([0, 1, 1, 2]))
      0.5
    """
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
