"""Transfers as one labelled dataset, and how much each loses against the target's own ticket."""

from typing import TYPE_CHECKING

import numpy as np

from jaxticket.transfer import Transfer, Transferred

if TYPE_CHECKING:
    import xarray


def transfer_results(transferred: Transferred) -> "xarray.Dataset":
    """Puts transfers into a dataset that is read as a search's is, by `at_early_stop` and others.

    Args:
      transferred: from `transfer`.

    Returns:
      Curves `<split>_<metric>` (source, target, arm, level, replicate, step); `early_stop_step`
      and `valid` (source, target, arm, level, replicate). What was not trained is NaN and not
      valid. Coordinates are in the order in which names first come.

    Example:
      >>> name, steps = Transfer("a", "b", "ticket", 1, 0), np.array([0, 5])
      >>> curves = {"test_accuracy": np.array([[0.1, 0.9]], np.float32)}
      >>> one = Transferred((name,), steps, curves, np.array([-1]), {}, np.array([0]))
      >>> float(transfer_results(one)["test_accuracy"].sel(source="a", step=5).item()) > 0.8
      True
    """
    import xarray

    from jaxticket.analysis.early_stopping import early_stop_step

    columns = zip(*transferred.names, strict=True)
    fields = dict(zip(Transfer._fields, columns, strict=True))
    labels = {name: list(dict.fromkeys(values)) for name, values in fields.items()}
    places = tuple(
        np.array([labels[name].index(value) for value in values]) for name, values in fields.items()
    )
    shape = tuple(map(len, labels.values()))

    def spread(values: np.ndarray, empty: float | bool) -> np.ndarray:
        whole = np.full((*shape, *values.shape[1:]), empty, values.dtype)
        whole[places] = values
        return whole

    curves = {
        name: ((*labels, "step"), spread(values, np.nan))
        for name, values in transferred.curves.items()
    }
    dataset = xarray.Dataset(curves, coords=labels | {"step": transferred.steps})
    dataset["valid"] = (tuple(labels), spread(transferred.diverged < 0, False))
    if "validation_loss" in dataset:
        dataset["early_stop_step"] = early_stop_step(dataset["validation_loss"])
    return dataset
