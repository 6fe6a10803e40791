"""Examples that are mixed in pairs, and how a loss is taken of two labels."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from jaxticket.errors import TicketError
from jaxticket.keys import derive

Augment = Callable[[PRNGKeyArray, Any], Any]
"""`augment(key, Examples | Mixed) -> Examples | Mixed`, with images of the same shape."""


class Mixed(NamedTuple):
    """Examples that were mixed in pairs, each with two labels.

    Attributes:
      images: `float32[n, height, width, channels]` in 0..255.
      labels: `int32[n]`, the first of each pair.
      partners: `int32[n]`, the second.
      share: `float32[]`, how much of each image is the first.
    """

    images: Float[Array, "n h w c"]
    labels: Shaped[Array, " n"]
    partners: Shaped[Array, " n"]
    share: Float[Array, ""]


def over_labels(value: Callable[[Int[Array, " n"]], Array], batch: Any) -> Array:
    """Takes a value of labels over all labels of a batch: λ v(y) + (1 − λ) v(y′) if it is mixed.

    Args:
      value: `value(labels) -> [n]`, for example a loss of fixed logits.
      batch: `Examples`, or `Mixed` from an augmentation.

    Returns:
      The values, `[n]`; those of `labels` alone if the batch is not mixed.

    Example:
      >>> pair = Mixed(jnp.zeros((1, 1, 1, 1)), jnp.array([0]), jnp.array([1]), jnp.float32(0.75))
      >>> over_labels(lambda labels: labels == 1, pair).tolist()
      [0.25]

    Source: 1710.09412, section 2 (unverified).
    """
    if not isinstance(batch, Mixed):
        return value(batch.labels)
    first, second = (value(y).astype(jnp.float32) for y in (batch.labels, batch.partners))
    return batch.share * first + (1.0 - batch.share) * second


def mixup(alpha: float) -> Augment:
    """Mixes each image with another of the batch: λ x_i + (1 − λ) x_j, λ ~ Beta(α, α).

    One λ a batch, and the partners are a random permutation of the batch, as in the authors'
    code (unverified). The loss is mixed as the images are; see `over_labels`.

    Args:
      alpha: α, positive; the larger, the nearer λ is to a half.

    Returns:
      The augmentation, from `Examples` to `Mixed`.

    Raises:
      TicketError: if α is not positive; when called, for a batch that is mixed already.

    Example:
      >>> from jaxticket import Examples
      >>> two = Examples(jnp.ones((2, 1, 1, 1), jnp.uint8), jnp.array([3, 4]))
      >>> sorted(mixup(0.2)(jax.random.key(0), two).partners.tolist())
      [3, 4]

    Source: 1710.09412, section 2 (unverified).
    """
    check("mixup", alpha, 0 < alpha < math.inf, "a positive number")

    def augment(key: PRNGKeyArray, batch: Any) -> Mixed:
        if isinstance(batch, Mixed):
            raise TicketError("mixup: got a batch that is mixed already, expected mixup only once")
        share = _symmetric_beta(derive(key, "share"), alpha)
        partner = jax.random.permutation(derive(key, "partner"), batch.images.shape[0])
        images = jnp.asarray(batch.images, jnp.float32)
        mixed = share * images + (1.0 - share) * images[partner]
        labels = jnp.asarray(batch.labels)
        return Mixed(mixed, labels, labels[partner], share)

    return augment


def _symmetric_beta(key: PRNGKeyArray, alpha: float) -> Float[Array, ""]:
    """Draws from Beta(α, α) through Student's t with 2α degrees of freedom, by its polar form.

    `jax.random.beta` rejects in loops, which take ten times as long to compile.
    Source: Devroye 1986, Non-Uniform Random Variate Generation, section IX.3 (unverified).
    """
    radius, angle = jax.random.uniform(key, (2,))
    cosine, rest = jnp.cos(2.0 * jnp.pi * angle), radius ** (1.0 / alpha)
    sine = cosine * jnp.sqrt(1.0 - rest) / jnp.sqrt(rest + (1.0 - rest) * cosine**2)
    return 0.5 + 0.5 * sine


def check(name: str, value: object, valid: bool, expected: str) -> None:
    """Refuses an augmentation's number.

    Args:
      name: the augmentation's.
      value: its number.
      valid: whether that will do.
      expected: what would, for the message.

    Raises:
      TicketError: if it will not.

    Example:
      >>> check("flip", 0.5, True, "a probability")
    """
    if not valid:
        raise TicketError(f"augmentation {name}: got {value}, expected {expected}")
