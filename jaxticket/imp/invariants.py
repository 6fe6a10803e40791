"""What contracts 1 to 4 say of one network, as counts of what breaks them, leaf by leaf.

All of it compares bits, so that −0.0 is not 0.0 and NaN is itself: what holds does so for a network
that diverged, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxticket.allocate.base import Counts, count_kept
from jaxticket.keys import is_typed_key
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, ModelState, Params

Violations = dict[str, Any]
"""How many numbers of a leaf break a contract, by its path: `int32[]`."""


class Source(NamedTuple):
    """What a network starts from, or should.

    Attributes:
      params: its weights.
      model_state: its batch statistics and the like.
      moments: the optimizer's state; `()` where none is carried over.
    """

    params: Params
    model_state: ModelState
    moments: Any


class Checked(NamedTuple):
    """One network that was trained, and what it was made from.

    Attributes:
      mask: which weights are kept.
      reference: the mask that it was made from: the level's before, or the ticket's.
      start: what it was trained from, the optimizer's whole state included.
      source: what it goes back to; unmasked.
      trained: its params after training.
    """

    mask: Mask
    reference: Mask
    start: Source
    source: Source
    trained: Params


class Broken(NamedTuple):
    """What breaks the contracts, were all of them to hold of the network.

    Attributes:
      started: contract 1, pruned weights that are not 0.0 before training.
      moments: contract 1, moments of pruned weights that are not 0.0 before training.
      trained: contract 1, pruned weights that are not 0.0 after training.
      kept: contract 2, what the mask keeps by leaf, then in the terms of each allocation.
      wanted: contract 2, what the reference keeps by leaf.
      regrown: contract 3, kept weights that the reference prunes.
      apart: contract 4, weights that are not those of the source under the mask.
      state_apart: contract 4, numbers of the model state that are not the source's.
      moments_apart: contract 4, numbers of the optimizer's state that are not; empty where the
        source has none.
    """

    started: Violations
    moments: Violations
    trained: Violations
    kept: tuple[Counts, ...]
    wanted: Counts
    regrown: Violations
    apart: Violations
    state_apart: Violations
    moments_apart: Violations


def count_broken(network: Checked, terms: Sequence[Callable[[Mask], Counts]] = ()) -> Broken:
    """Counts, leaf by leaf, what breaks the contracts in one network.

    Args:
      network: the network.
      terms: what a mask keeps in the terms of each allocation.

    Returns:
      `int32[]` counts.

    Example:
      >>> mask, weights = {"w": jnp.array([True, False])}, {"w": jnp.array([2.0, 3.0])}
      >>> pruned = {"w": jnp.array([2.0, 0.0])}
      >>> start, source = Source(pruned, {}, ()), Source(weights, {}, ())
      >>> broken = count_broken(Checked(mask, mask, start, source, trained=weights))
      >>> int(broken.apart["w"]), int(broken.started["w"]), int(broken.trained["w"])
      (0, 0, 1)
    """
    mask, start, source = network.mask, network.start, network.source
    return Broken(
        started=_not_zero(start.params, mask),
        moments=_moments_not_zero(start, mask),
        trained=_not_zero(network.trained, mask),
        kept=tuple(count(mask) for count in (count_kept, *terms)),
        wanted=count_kept(network.reference),
        regrown=_over(lambda kept, before: kept & ~before, mask, network.reference),
        apart=_apart(start.params, source.params, mask),
        state_apart=_over(_state_differs, start.model_state, source.model_state),
        moments_apart=_moments_apart(start, source, mask),
    )


def moments_of(state: Any) -> Any:
    """Gives the optimizer's state of a learner's.

    Args:
      state: of a learner.

    Returns:
      Its `opt_state`; `()` if it has none.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> moments_of(TrainState(params={}, model_state={}, opt_state=3))
      3
    """
    return getattr(state, "opt_state", ())


def _not_zero(tree: Any, mask: Mask) -> Violations:
    masked = dict(leaves_by_path(mask))
    pairs = [(path, leaf, masked[path]) for path, leaf in leaves_by_path(tree) if path in masked]
    # A factored moment has another shape than its weight, and no place for each of them.
    return {
        path: _sum(~kept & (_bits(leaf) != 0))
        for path, leaf, kept in pairs
        if leaf.shape == kept.shape
    }


def _moments_not_zero(start: Source, mask: Mask) -> Violations:
    total: Violations = {}
    for tree in _like_params(start.moments, start.params):
        for path, count in _not_zero(tree, mask).items():
            total[path] = total.get(path, jnp.int32(0)) + count
    return total


def _apart(params: Params, source: Params, mask: Mask) -> Violations:
    """Counts where params are not those of the source under the mask."""
    masked, theirs = dict(leaves_by_path(mask)), dict(leaves_by_path(source))

    def wanted(path: str, leaf: Array) -> Array:
        kept = masked.get(path)
        if kept is None or kept.shape != leaf.shape:
            return leaf
        return jnp.where(kept, leaf, jnp.zeros((), leaf.dtype))

    return {
        path: _sum(_bits(leaf) != _bits(wanted(path, theirs[path])))
        for path, leaf in leaves_by_path(params)
    }


def _state_differs(after: Array, before: Array) -> Array:
    # Booleans of a model state are masks of the learner's own, which the network's may narrow.
    return after & ~before if after.dtype == bool else _bits(after) != _bits(before)


def _moments_apart(start: Source, source: Source, mask: Mask) -> Violations:
    """Counts what is not carried over, in trees like the params and elsewhere."""
    if not jax.tree.leaves(source.moments):
        return {}
    total: Violations = {}
    ours, theirs = (_like_params(each.moments, start.params) for each in (start, source))
    for one, other in zip(ours, theirs, strict=True):
        for path, count in _apart(one, other, mask).items():
            total[path] = total.get(path, jnp.int32(0)) + count
    # What else there is may be masked too, in trees that only the optimizer knows.
    rest = (_others(each.moments, start.params) for each in (start, source))
    other = _over(lambda a, b: (_bits(a) != _bits(b)) & (_bits(a) != 0), *rest)
    return total | {f"optimizer state {path}": count for path, count in other.items()}


def _like_params(state: Any, params: Params) -> list[Any]:
    """Lists the parts of an optimizer's state that have the structure of the params."""
    is_one = _has_structure_of(params)
    return [part for part in jax.tree.leaves(state, is_leaf=is_one) if is_one(part)]


def _others(state: Any, params: Params) -> Any:
    is_one = _has_structure_of(params)
    return jax.tree.map(lambda part: () if is_one(part) else part, state, is_leaf=is_one)


def _has_structure_of(params: Params) -> Callable[[Any], bool]:
    structure = jax.tree.structure(params)
    return lambda part: jax.tree.structure(part) == structure


def _over(breaks: Callable[[Array, Array], Array], tree: Any, other: Any) -> Violations:
    pairs = zip(leaves_by_path(tree), jax.tree.leaves(other), strict=True)
    return {path: _sum(breaks(leaf, theirs)) for (path, leaf), theirs in pairs}


def _bits(leaf: Array) -> Array:
    if is_typed_key(leaf):
        return jax.random.key_data(leaf)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    return jax.lax.bitcast_convert_type(leaf, jnp.dtype(f"uint{8 * leaf.dtype.itemsize}"))


def _sum(broken: Array) -> Int[Array, ""]:
    return jnp.sum(broken, dtype=jnp.int32)
