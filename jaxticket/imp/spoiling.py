"""What sanity checks do to examples: labels drawn at random, pixels shuffled."""

import numpy as np


def random_labels(
    labels: np.ndarray, classes: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Draws labels that say nothing of their images.

    Args:
      labels: `int[n]`, of which the number and the dtype are taken.
      classes: what is drawn from, uniformly.
      generator: of the numbers.

    Returns:
      `int[n]`.

    Example:
      >>> random_labels(np.arange(3), np.array([7]), np.random.default_rng(0)).tolist()
      [7, 7, 7]

    Source: a sanity check of 2009.11094 (unverified).
    """
    return generator.choice(classes, len(labels)).astype(labels.dtype)


def shuffled_pixels(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffles the pixels of every image in an order of its own; channels stay together.

    Args:
      images: `[n, height, width, channels]`.
      generator: of the orders.

    Returns:
      The images, of the same shape and dtype.

    Example:
      >>> images = np.arange(8).reshape(1, 2, 2, 2)
      >>> shuffled = shuffled_pixels(images, np.random.default_rng(0))
      >>> sorted(shuffled.reshape(4, 2).tolist())
      [[0, 1], [2, 3], [4, 5], [6, 7]]

    Source: a sanity check of 2009.11094 (unverified).
    """
    flat = images.reshape(len(images), -1, images.shape[-1])
    # One order an image, drawn as the order of uniform numbers.
    order = np.argsort(generator.random(flat.shape[:2]), axis=1)[..., None]
    return np.take_along_axis(flat, order, axis=1).reshape(images.shape)
