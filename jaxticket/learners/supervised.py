"""Supervised classification: minimise a loss over labelled examples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from jaxticket import axes, masks
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, Penalty
from jaxticket.learners.losses import Loss
from jaxticket.learners.mixing import Augment, over_labels
from jaxticket.learners.preprocessing import unit_interval
from jaxticket.optimizers import mask_moments, masked, restart
from jaxticket.types import Examples, Mask, Metrics, Model, ModelState, Objective, Params


class TrainState(NamedTuple):
    """The state of supervised training.

    Attributes:
      params: the weights, zero where pruned.
      model_state: batch statistics and the like.
      opt_state: the optax state, its moments zero where pruned.
      held: what pruned weights are held at; `()` for zero.
    """

    params: Params
    model_state: ModelState
    opt_state: Any
    held: Any = ()


def supervised(
    model: Model,
    optimizer: optax.GradientTransformation,
    *,
    preprocess: Callable[[Array], Array] = unit_interval,
    loss: Loss = optax.softmax_cross_entropy_with_integer_labels,
    augment: Augment | None = None,
    penalty: Callable[[Params, ModelState], Array] | None = None,
    evaluation_batch_size: int = 1_000,
) -> Learner:
    """Makes the learner of supervised classification: min_θ mean_i loss(f(x_i; m ⊙ θ), y_i).

    Args:
      model: the network; its output is `float[n, classes]` logits.
      optimizer: any optax transformation.
      preprocess: what is done to images in the step and in evaluation, `uint8[n, h, w, c]` to
        float; nothing else is normalised.
      loss: `loss(logits, labels) -> float[n]`, one an example.
      augment: what is done to a batch before each step, from `learners.augmentation`; never in
        evaluation. It has a key of its own, so dropout does not change with it. The metrics of
        training are then of the augmented batch.
      penalty: `penalty(params, model_state) -> float[]`, added to what training minimises, with
        the model state before the step; no metric and no `Objective` shows it.
      evaluation_batch_size: examples evaluated at a time, which bounds memory.

    Returns:
      The learner; batches and splits are `Examples`, metrics are `loss` and `accuracy`.

    Example:
      >>> model = Model(
      ...     init=lambda key: ({"w": jax.random.normal(key, (4, 2))}, {}),
      ...     apply=lambda params, state, x, *, train, key=None: (
      ...         x.reshape(len(x), -1) @ params["w"], state),
      ... )
      >>> learner = supervised(model, optax.sgd(0.1))
      >>> learner.init(jax.random.key(0)).params["w"].shape
      (4, 2)
    """
    masked_optimizer = masked(optimizer)

    def init(key: PRNGKeyArray) -> TrainState:
        params, model_state = model.init(key)
        return TrainState(params, model_state, optimizer.init(params))

    def step(
        state: TrainState, mask: Mask, batch: Examples, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        if augment is not None:
            batch = augment(derive(key, "augment"), batch)

        def objective(params: Params) -> tuple[Array, tuple[Array, Array, ModelState]]:
            inputs = preprocess(batch.images)
            used = _held(params, state.held)
            logits, new_state = model.apply(used, state.model_state, inputs, train=True, key=key)
            value = jnp.mean(over_labels(lambda y: loss(logits, y), batch))
            total = value if penalty is None else value + penalty(params, state.model_state)
            return total, (value, logits, new_state)

        # The mask is not applied to the params again: they are zero where pruned already, and
        # `masked_optimizer` drops the gradient there.
        grads, (value, logits, model_state) = jax.grad(objective, has_aux=True)(state.params)
        updates, opt_state = masked_optimizer.update(
            grads, state.opt_state, state.params, mask=mask
        )
        params = optax.apply_updates(state.params, updates)
        correct = jnp.mean(over_labels(lambda y: jnp.argmax(logits, axis=-1) == y, batch))
        state = TrainState(params, model_state, opt_state, state.held)
        return state, {"loss": value, "accuracy": correct}

    def evaluate(state: TrainState, mask: Mask, examples: Examples) -> Metrics:
        params = _held(masks.apply(state.params, mask), state.held)
        examples = jax.tree.map(jnp.asarray, examples)

        def per_example(chunk: Examples) -> Metrics:
            chunk = axes.share_out(chunk)
            inputs = preprocess(chunk.images)
            logits, _ = model.apply(params, state.model_state, inputs, train=False)
            correct = jnp.argmax(logits, axis=-1) == chunk.labels
            return {"loss": loss(logits, chunk.labels), "accuracy": correct.astype(jnp.float32)}

        return jax.tree.map(jnp.mean, _in_chunks(per_example, examples, evaluation_batch_size))

    def restarted(state: TrainState, params: Params, mask: Mask, *, moments: bool) -> TrainState:
        params = masks.apply(params, mask)
        opt_state = state.opt_state if moments else restart(optimizer, state.opt_state, params)
        # New moments too: some optimizers start them above zero.
        return state._replace(params=params, opt_state=mask_moments(optimizer, opt_state, mask))

    def hold(state: TrainState, values: Any) -> TrainState:
        return state._replace(held=values)

    def with_penalty(added: Penalty) -> Learner:
        def both(params: Params, model_state: ModelState) -> Array:
            own = added(params)
            return own if penalty is None else penalty(params, model_state) + own

        return supervised(
            model,
            optimizer,
            preprocess=preprocess,
            loss=loss,
            augment=augment,
            penalty=both,
            evaluation_batch_size=evaluation_batch_size,
        )

    minimised = Objective(
        prepare=lambda batch: preprocess(batch.images),
        apply=model.apply,
        loss=lambda logits, batch: over_labels(lambda y: loss(logits, y), batch),
    )
    return Learner(init, step, evaluate, restarted, hold, minimised, with_penalty)


def _held(params: Params, held: Any) -> Params:
    """Gives what the network computes with."""
    if held == ():
        return params
    return jax.tree.map(lambda p, h: p if h is None else p + h, params, held)


def _in_chunks(function: Callable[[Any], Any], examples: Any, size: int) -> Any:
    """Applies a function of examples to full chunks one after the other, then to the rest."""
    number = jax.tree.leaves(examples)[0].shape[0]
    whole = number // size * size
    if whole <= size and whole in (0, number):
        return function(examples)
    chunks = jax.tree.map(lambda a: a[:whole].reshape(-1, size, *a.shape[1:]), examples)
    outputs = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), jax.lax.map(function, chunks))
    if whole == number:
        return outputs
    rest = function(jax.tree.map(lambda a: a[whole:], examples))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, rest)
