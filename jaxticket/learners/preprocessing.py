"""What is done to images before a network sees them: nothing that the caller did not choose."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxticket.errors import TicketError, unknown

Preprocess = Callable[[Array], Array]
NAMES = ("unit_interval", "standardized")
"""Names that `by_name` understands."""


def unit_interval(images: Shaped[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Scales images from bytes to [0, 1]: x / 255.

    Args:
      images: `uint8[n, height, width, channels]`.

    Returns:
      `float32` of the same shape.

    Example:
      >>> unit_interval(jnp.full((1, 1, 1, 1), 255, jnp.uint8)).item()
      1.0
    """
    return images.astype(jnp.float32) / 255.0


def standardized(train_images: np.ndarray) -> Preprocess:
    """Makes the scaling by the training pixels' mean μ and deviation σ: (x/255 − μ) / σ.

    Args:
      train_images: `uint8[n, height, width, channels]`; μ and σ are over n, height and width,
        one a channel.

    Returns:
      `float32[n, h, w, c]` from `uint8[n, h, w, c]`.

    Raises:
      TicketError: if a channel is constant.

    Example:
      >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
      >>> standardized(images)(jnp.asarray(images)).ravel().tolist()
      [-1.0, 1.0]
    """
    shift, scale = _shift_and_scale(train_images)
    return lambda images: (unit_interval(images) - shift) * scale


def _shift_and_scale(train_images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives μ and 1/σ, `float32[1, 1, 1, channels]`."""
    pixels = np.asarray(train_images, np.float64) / 255.0
    mean, deviation = pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))
    if not np.all(deviation > 0):
        raise TicketError(
            f"inputs standardized: got training images with pixel deviation {deviation.tolist()}, "
            "expected it above 0 in every channel; use unit_interval"
        )
    # NumPy constants: a traced function must not hold on to device arrays.
    shape = (1, 1, 1, -1)
    scale = (1.0 / deviation).astype(np.float32)
    return mean.astype(np.float32).reshape(shape), scale.reshape(shape)


def check_name(name: str) -> None:
    """Checks the name of a preprocessing.

    Args:
      name: one of `NAMES`.

    Raises:
      TicketError: for another one.
    """
    if name not in NAMES:
        raise unknown("inputs", name, NAMES)


def by_name(name: str, train_images: np.ndarray) -> Preprocess:
    """Makes the preprocessing of that name.

    Args:
      name: one of `NAMES`.
      train_images: what `standardized` takes its mean and deviation from.

    Returns:
      The function.

    Raises:
      TicketError: for an unknown name.

    Example:
      >>> by_name("unit_interval", np.zeros((1, 1, 1, 1), np.uint8)) is unit_interval
      True
    """
    check_name(name)
    return unit_interval if name == "unit_interval" else standardized(train_images)


def by_task(name: str, train_images: np.ndarray) -> Callable[[Any], Preprocess]:
    """Makes the preprocessing of that name for each of several tasks, by its own pixels.

    Args:
      name: one of `NAMES`.
      train_images: of all tasks, `uint8[n, tasks, height, width, channels]`.

    Returns:
      `of(task)`, the function of that task's images, to the bit that of `by_name`; the task may be
      traced.

    Raises:
      TicketError: as `by_name`.

    Example:
      >>> pixels = np.array([0, 100, 255, 200], np.uint8).reshape(2, 2, 1, 1, 1)
      >>> by_task("standardized", pixels)(1)(jnp.asarray(pixels[:, 1])).ravel().round(3).tolist()
      [-1.0, 1.0]
    """
    check_name(name)
    if name == "unit_interval":
        return lambda task: unit_interval
    each = [_shift_and_scale(train_images[:, place]) for place in range(train_images.shape[1])]
    shifts, scales = (np.stack(numbers) for numbers in zip(*each, strict=True))
    return lambda task: (
        lambda images: (
            (unit_interval(images) - jnp.asarray(shifts)[task]) * jnp.asarray(scales)[task]
        )
    )
