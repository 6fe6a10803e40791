"""Random keys by name, so that no result depends on how many others train beside it."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray


def is_typed_key(value: object) -> bool:
    """Says whether a value is an array of typed keys.

    Args:
      value: anything.

    Returns:
      True for what `jax.random.key` makes.

    Example:
      >>> is_typed_key(jax.random.key(0)), is_typed_key(jax.numpy.zeros(2))
      (True, False)
    """
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


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
    if not is_typed_key(key):
        raise TypeError(
            f"key: got {type(key).__name__}, expected a typed key; make one with jax.random.key(0)"
        )
    for name in names:
        key = jax.random.fold_in(key, zlib.crc32(name.encode()) if isinstance(name, str) else name)
    return key


def derive_each(keys: jax.Array, name: str, indices: np.ndarray) -> jax.Array:
    """Derives from each key by a name and an index of its own; one compilation serves all names.

    Args:
      keys: typed keys, `[n]`.
      name: a purpose.
      indices: `int32[n]`.

    Returns:
      Typed keys, `[n]`: key i is `derive(keys[i], name, indices[i])`.

    Example:
      >>> roots = replicate_keys(jax.random.key(0), 2)
      >>> bool(derive_each(roots, "order", np.array([3, 4]))[1] == derive(roots[1], "order", 4))
      True
    """
    return _derive_each(keys, np.uint32(zlib.crc32(name.encode())), indices)


@jax.jit
def _derive_each(keys: jax.Array, name: jax.Array, indices: jax.Array) -> jax.Array:
    return jax.vmap(lambda key, index: derive(key, name, index))(keys, indices)


def replicate_keys(key: PRNGKeyArray, replicates: int) -> jax.Array:
    """Derives one key a replicate, by index.

    Args:
      key: the run's key.
      replicates: how many.

    Returns:
      Typed keys, `[replicates]`.

    Example:
      >>> replicate_keys(jax.random.key(0), 3).shape
      (3,)
    """
    return _derive_indices(key, np.arange(replicates, dtype=np.int32))


@jax.jit
def _derive_indices(key: PRNGKeyArray, indices: jax.Array) -> jax.Array:
    return jax.vmap(lambda index: derive(key, "replicate", index))(indices)
