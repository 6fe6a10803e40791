"""The early-stop step: where validation loss was lowest, found after the fact."""

from typing import TYPE_CHECKING

from jaxticket.train.stopping import place_of_lowest

if TYPE_CHECKING:
    import xarray


def early_stop_step(validation_loss: "xarray.DataArray") -> "xarray.DataArray":
    """Finds the step of minimum validation loss, the first one if there are several.

    Args:
      validation_loss: with a dimension `step`; NaN where not evaluated.

    Returns:
      `int64` without the dimension `step`; −1 where no loss is finite.

    Example:
      >>> import numpy as np, xarray
      >>> loss = xarray.DataArray([2.0, 0.5, 0.7], {"step": [0, 100, 200]}, dims="step")
      >>> int(early_stop_step(loss))
      100

    Source: 1803.03635, section 2: "early-stopping iteration".
    """
    import xarray

    place = xarray.apply_ufunc(
        place_of_lowest, validation_loss, input_core_dims=[["step"]], kwargs={"axis": -1}
    )
    return validation_loss["step"][place].drop_vars("step").where(place >= 0, -1).astype("int64")


def at_early_stop(dataset: "xarray.Dataset", name: str) -> "xarray.DataArray":
    """Reads a curve at each network's own early-stop step.

    Args:
      dataset: from `jaxticket.runs`, with `early_stop_step`.
      name: a curve, e.g. `"test_accuracy"`.

    Returns:
      The values (arm, level, replicate); NaN where the network is not valid.

    Example:
      See `experiments.lenet`.
    """
    stop = dataset["early_stop_step"]
    known = stop.where(stop >= 0, dataset["step"][0])
    return dataset[name].sel(step=known).drop_vars("step").where(dataset["valid"] & (stop >= 0))


def at_start(dataset: "xarray.Dataset", name: str) -> "xarray.DataArray":
    """Reads a curve where each network begins to train: what its mask and weights are worth alone.

    Args:
      dataset: from `jaxticket.runs`.
      name: a curve, e.g. `"test_accuracy"`.

    Returns:
      The values (arm, level, replicate); NaN where the network is not valid.

    Example:
      See `experiments.deconstructing`.
    """
    return _where_evaluated(dataset, name, 0)


def at_end(dataset: "xarray.Dataset", name: str) -> "xarray.DataArray":
    """Reads a curve at the last step of training.

    Args:
      dataset: from `jaxticket.runs`.
      name: a curve, e.g. `"test_accuracy"`.

    Returns:
      The values (arm, level, replicate); NaN where the network is not valid.

    Example:
      See `experiments.retraining`.
    """
    return _where_evaluated(dataset, name, -1)


def _where_evaluated(dataset: "xarray.Dataset", name: str, place: int) -> "xarray.DataArray":
    """Reads a curve at its first or last evaluation."""
    import numpy as np

    known = np.isfinite(dataset[name].values)
    steps = dataset[name]["step"].where(dataset[name].copy(data=known))
    step = steps.min("step") if place == 0 else steps.max("step")
    return dataset[name].sel(step=step.fillna(dataset["step"][0])).where(dataset["valid"])
