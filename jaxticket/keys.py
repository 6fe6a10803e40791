"""Random keys by name, so that no result depends on how many others train beside it."""

import zlib

import jax
from jaxtyping import PRNGKeyArray


def derive(key: PRNGKeyArray, *names: "str | int | jax.Array") -> PRNGKeyArray:
    """Derives a key by folding in names one after the other.

    Strings are folded in by their CRC-32, integers (traced ones too) as they are, so
    `derive(key, "order", level)` needs no running counter and never changes when a new
    consumer of randomness is added elsewhere.

    Args:
      key: a typed key from `jax.random.key`.
      *names: purposes and indices.

    Returns:
      The derived key.

    Raises:
      TypeError: if `key` is not a typed key.

    Example:
      >>> root = jax.random.key(0)
      >>> bool(derive(root, "initial", 3) == derive(root, "initial", 3))
      True
      >>> bool(derive(root, "initial", 3) == derive(root, "order", 3))
      False
    """
    if not jax.dtypes.issubdtype(getattr(key, "dtype", None), jax.dtypes.prng_key):
        raise TypeError(
            f"key: got {type(key).__name__}, expected a typed key; make one with jax.random.key(0)"
        )
    for name in names:
        key = jax.random.fold_in(key, zlib.crc32(name.encode()) if isinstance(name, str) else name)
    return key
