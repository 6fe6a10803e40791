"""What is done to a batch before a training step, on the device: random, off by default.

An augmentation changes what a step sees and nothing else: evaluation never calls it. It works
on pixels as they are stored, before any preprocessing, so what it fills in is black (0).
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxticket.errors import TicketError, unknown
from jaxticket.keys import derive
from jaxticket.learners.mixing import Augment, check, mixup


def flip(probability: float = 0.5) -> Augment:
    """Mirrors each image left to right with a probability of its own.

    Args:
      probability: in [0, 1].

    Returns:
      The augmentation.

    Raises:
      TicketError: for a number that is no probability.

    Example:
      >>> from jaxticket import Examples
      >>> pixels = jnp.array([0, 1], jnp.uint8).reshape(1, 1, 2, 1)
      >>> two = Examples(pixels, jnp.zeros(1, jnp.int32))
      >>> flip(1.0)(jax.random.key(0), two).images.ravel().tolist()
      [1, 0]
    """
    check("flip", probability, 0.0 <= probability <= 1.0, "a probability, 0 to 1")

    def augment(key: PRNGKeyArray, batch: Any) -> Any:
        chosen = jax.random.bernoulli(key, probability, (batch.images.shape[0], 1, 1, 1))
        return batch._replace(images=jnp.where(chosen, batch.images[:, :, ::-1], batch.images))

    return augment


def crop(padding: int = 4) -> Augment:
    """Moves each image by up to `padding` pixels along both axes; black comes in at the edges.

    The same as padding the image on all sides and cutting its own size out at a random place,
    uniform over all places.

    Args:
      padding: pixels, at least 1.

    Returns:
      The augmentation.

    Raises:
      TicketError: for another padding.

    Example:
      >>> from jaxticket import Examples
      >>> one = Examples(jnp.ones((1, 3, 3, 1), jnp.uint8), jnp.zeros(1, jnp.int32))
      >>> crop(1)(jax.random.key(0), one).images.shape
      (1, 3, 3, 1)

    Source: 1512.03385, section 4.2, with padding 4 after subtracting the mean image (unverified).
    """
    check("crop", padding, padding >= 1, "at least 1 pixel")
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))

    def augment(key: PRNGKeyArray, batch: Any) -> Any:
        number, *shape = batch.images.shape
        places = jax.random.randint(key, (number, 2), 0, 2 * padding + 1)

        def cut(image: Array, place: Array) -> Array:
            return jax.lax.dynamic_slice(image, (place[0], place[1], 0), shape)

        return batch._replace(images=jax.vmap(cut)(jnp.pad(batch.images, sides), places))

    return augment


def cutout(size: int) -> Augment:
    """Blackens a square in each image, its centre uniform over all pixels.

    A square of even size reaches half its size up and left of its centre and one less down and
    right. It may lie partly outside of the image.

    Args:
      size: length of the side in pixels, at least 1.

    Returns:
      The augmentation.

    Raises:
      TicketError: for another size.

    Example:
      >>> from jaxticket import Examples
      >>> one = Examples(jnp.ones((1, 3, 3, 1), jnp.uint8), jnp.zeros(1, jnp.int32))
      >>> cutout(1)(jax.random.key(0), one).images.sum().item()
      8

    Source: 1708.04552, section 3.2; there the fill is zero after normalisation (unverified).
    """
    check("cutout", size, size >= 1, "at least 1 pixel")

    def augment(key: PRNGKeyArray, batch: Any) -> Any:
        number, height, width, _ = batch.images.shape
        ends = jnp.array([[height, width]])
        centres = jax.random.randint(key, (number, 2), 0, ends)
        first = centres - size // 2
        rows, columns = (
            (jnp.arange(end)[None] >= first[:, axis, None])
            & (jnp.arange(end)[None] < first[:, axis, None] + size)
            for axis, end in enumerate((height, width))
        )
        inside = rows[:, :, None, None] & columns[:, None, :, None]
        black = jnp.zeros((), batch.images.dtype)
        return batch._replace(images=jnp.where(inside, black, batch.images))

    return augment


def compose(*augments: Augment) -> Augment:
    """Applies augmentations one after the other, each with a key of its own.

    Args:
      *augments: in this order; `mixup` may stand among them once.

    Returns:
      The augmentation.

    Example:
      >>> from jaxticket import Examples
      >>> one = Examples(jnp.ones((1, 8, 8, 1), jnp.uint8), jnp.zeros(1, jnp.int32))
      >>> compose(crop(2), flip(), cutout(3))(jax.random.key(0), one).images.shape
      (1, 8, 8, 1)
    """

    def augment(key: PRNGKeyArray, batch: Any) -> Any:
        for place, each in enumerate(augments):
            batch = each(derive(key, "augmentation", place), batch)
        return batch

    return augment


AUGMENTATIONS: dict[str, Callable[..., Augment]] = {
    "flip": flip,
    "crop": crop,
    "cutout": cutout,
    "mixup": mixup,
}
"""Augmentations by name, each a function of its one number."""

_NUMBERS = {"flip": float, "crop": int, "cutout": int, "mixup": float}
_WITHOUT_DEFAULT = ("cutout", "mixup")


def by_names(choices: Iterable[str]) -> Augment | None:
    """Makes the augmentation that a command line asks for.

    Args:
      choices: names of `AUGMENTATIONS` in the order in which they apply, each perhaps with its
        number: `("flip", "crop=4", "cutout=8", "mixup=0.2")`.

    Returns:
      The augmentation; `None` without a name.

    Raises:
      TicketError: for an unknown name, a number that is none, or one that is missing.

    Example:
      >>> by_names(()) is None
      True
    """
    made = [_by_name(choice) for choice in choices]
    return compose(*made) if made else None


def _by_name(choice: str) -> Augment:
    name, equals, text = choice.partition("=")
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    if not equals and name not in _WITHOUT_DEFAULT:
        return AUGMENTATIONS[name]()
    try:
        number = _NUMBERS[name](text)
    except ValueError:
        kind = "an integer" if _NUMBERS[name] is int else "a number"
        raise TicketError(
            f"augmentation {name}: got {choice!r}, expected {kind}, such as {name}=1"
        ) from None
    return AUGMENTATIONS[name](number)
