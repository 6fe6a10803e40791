"""What a learned mask is, and the network that it makes of another one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxticket.keys import derive
from jaxticket.masks.prunable import Prunable, path_string
from jaxticket.types import Mask, Model, ModelState, Params

Initializer = Callable[..., Array]
"""`(key, shape, dtype) -> array`, as those of `jax.nn.initializers`."""


class LearnedMask(NamedTuple):
    """A way to learn which weights are kept, as a re-parametrisation of the weights.

    The network computes f(x; w(p)) and training changes p: scores, weights or both. What training
    does not change, frozen weights or the number of steps made, is carried in the model state.

    Attributes:
      init: `init(key, weights) -> (params, carried)`, from newly drawn weights of the network.
      weights: `weights(params, carried, *, train, key=None) -> (weights, carried)`, what the
        network computes with. `key` is only needed by a mask that is drawn in training.
      soft: `soft(params, carried) -> mask` with float leaves in [0, 1], what is kept of each weight
        on average; `None` where not prunable.
      mask: `mask(params, carried) -> mask`, what is kept in the end.
    """

    init: Callable[[PRNGKeyArray, Params], tuple[Params, Any]]
    weights: Callable[..., tuple[Params, Any]]
    soft: Callable[[Params, Any], Any]
    mask: Callable[[Params, Any], Mask]


def reparametrise(model: Model, learned: LearnedMask) -> Model:
    """Makes the network whose params are those of a learned mask: f(x; w(p)).

    Args:
      model: the network f.
      learned: how its weights follow from what is trained.

    Returns:
      A `Model` for any learner. Its model state is `{"network": ..., "mask": ...}`, the network's
      own and what the mask carries, so that checkpoints hold frozen weights too.

    Example:
      >>> from jaxticket.learned_masks import edge_popup
      >>> model = Model(
      ...     init=lambda key: ({"kernel": jax.random.normal(key, (4, 2))}, {}),
      ...     apply=lambda params, state, x, *, train, key=None: (x @ params["kernel"], state),
      ... )
      >>> params, state = reparametrise(model, edge_popup(0.5)).init(jax.random.key(0))
      >>> sorted(state), params["kernel"].shape, state["mask"]["weights"]["kernel"].shape
      (['mask', 'network'], (4, 2), (4, 2))
    """

    def init(key: PRNGKeyArray) -> tuple[Params, ModelState]:
        weights, state = model.init(key)
        params, carried = learned.init(derive(key, "learned mask"), weights)
        return params, {"network": state, "mask": carried}

    def apply(
        params: Params, model_state: ModelState, x: Any, *, train: bool, key: Any = None
    ) -> tuple[Any, ModelState]:
        own = None if key is None else derive(key, "learned mask")
        weights, carried = learned.weights(params, model_state["mask"], train=train, key=own)
        outputs, state = model.apply(weights, model_state["network"], x, train=train, key=key)
        return outputs, {"network": state, "mask": carried}

    return Model(init, apply)


def is_reparametrised(model_state: ModelState) -> bool:
    """Says whether a model state is that of a network that `reparametrise` made.

    Args:
      model_state: of any network.

    Returns:
      Whether it has the two parts of such a state, and no others.

    Example:
      >>> is_reparametrised({"network": {}, "mask": {}}), is_reparametrised({})
      (True, False)
    """
    return isinstance(model_state, dict) and model_state.keys() == {"network", "mask"}


def mask_of(learned: LearnedMask, params: Params, model_state: ModelState) -> Mask:
    """Gives the mask that was learned, of the plain network's structure.

    Args:
      learned: how it was learned.
      params: of the network that `reparametrise` made.
      model_state: of the same.

    Returns:
      `bool` leaves, `None` where not prunable: a mask as everywhere else.

    Example:
      See `edge_popup`.
    """
    return learned.mask(params, model_state["mask"])


def network_of(
    learned: LearnedMask, params: Params, model_state: ModelState
) -> tuple[Params, ModelState]:
    """Gives the plain network that is evaluated: w(p), and its own model state.

    Args:
      learned: how its mask was learned.
      params: of the network that `reparametrise` made.
      model_state: of the same.

    Returns:
      Params and model state of the network that `reparametrise` was given.

    Example:
      See `edge_popup`.
    """
    weights, _ = learned.weights(params, model_state["mask"], train=False)
    return weights, model_state["network"]


def size_penalty(
    learned: LearnedMask, coefficient: float
) -> Callable[[Params, ModelState], Float[Array, ""]]:
    """Makes λ ‖m‖₁, the penalty on how many weights a soft mask keeps.

    Args:
      learned: how the mask is learned; a hard mask's size has no derivative.
      coefficient: λ.

    Returns:
      `penalty(params, model_state) -> float[]`, as `learners.supervised` takes it.

    Example:
      See `continuous_sparsification`.

    Source: 1912.04427, equation 5 (unverified).
    """

    def penalty(params: Params, model_state: ModelState) -> Float[Array, ""]:
        kept = jax.tree.leaves(learned.soft(params, model_state["mask"]))
        return coefficient * jnp.sum(jnp.stack([jnp.sum(leaf) for leaf in kept]))

    return penalty


def straight_through(hard: Array, soft: Array) -> Array:
    """Gives one array's values with another one's derivatives: hard + (soft − stop(soft)).

    The bracket is exactly zero, so the values are those of `hard` to the bit.

    Args:
      hard: float, what is computed with.
      soft: float of the same shape, what is differentiated.

    Returns:
      An array like `hard`.

    Example:
      >>> jax.value_and_grad(lambda s: straight_through(jnp.round(s), s))(0.7)
      (Array(1., dtype=float32, weak_type=True), Array(1., dtype=float32, weak_type=True))

    Source: 1308.3432, section 3 (unverified).
    """
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))


def draw_prunable(
    key: PRNGKeyArray, weights: Params, prunable: Prunable, initializer: Initializer
) -> Params:
    """Draws an array for every leaf that may be pruned; `None` elsewhere.

    Args:
      key: from which each leaf's own is derived by its path.
      weights: of the network.
      prunable: which leaves may be pruned.
      initializer: what is drawn.

    Returns:
      The weights' structure.
    """

    def drawn(path: tuple[Any, ...], leaf: Any) -> Any:
        name = path_string(path)
        if not prunable(name, leaf):
            return None
        return initializer(derive(key, name), leaf.shape, leaf.dtype)

    return jax.tree_util.tree_map_with_path(drawn, weights)


def over_prunable(function: Callable[..., Any], weights: Params, *trees: Any) -> Params:
    """Applies a function where the first of some trees is not `None`; weights stay elsewhere.

    Args:
      function: of a leaf of `weights` and one of each tree.
      weights: of the network.
      *trees: the weights' structure, `None` where not prunable.

    Returns:
      The weights' structure.
    """
    return jax.tree.map(
        lambda leaf, first, *rest: leaf if first is None else function(leaf, first, *rest),
        weights,
        *trees,
    )
