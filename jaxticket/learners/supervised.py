"""Supervised classification: minimise a loss over labelled examples."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from jaxticket import axes, masks
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, Penalty
from jaxticket.learners.losses import Loss
from jaxticket.learners.mixing import Augment, Mixed, over_labels
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
      The learner; batches and splits are `Examples`, metrics are `loss` and `accuracy`. It refuses
      images that are no bytes unless `preprocess` is given.

    Raises:
      TicketError: for a model or an optimizer that is none.

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
    if not isinstance(model, Model):
        raise TicketError(
            f"model: got a {type(model).__name__}, expected a Model(init, apply); "
            "models.from_linen and models.from_nnx adapt Flax"
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TicketError(
            f"optimizer: got a {type(optimizer).__name__}, expected an optax transformation, such "
            "as optax.adam(1e-3)"
        )
    return _Supervised(
        model, optimizer, preprocess, loss, augment, penalty, evaluation_batch_size
    ).learner()


@dataclasses.dataclass(frozen=True, eq=False)
class _Supervised:
    """What `supervised` was given, and the functions that it makes of it."""

    model: Model
    optimizer: optax.GradientTransformation
    preprocess: Callable[[Array], Array]
    loss: Loss
    augment: Augment | None
    penalty: Callable[[Params, ModelState], Array] | None
    evaluation_batch_size: int

    def learner(self) -> Learner:
        minimised = Objective(
            prepare=lambda batch: self.preprocess(self._checked(batch).images),
            apply=self.model.apply,
            loss=self._losses,
        )
        return Learner(
            self.init,
            self.step,
            self.evaluate,
            self.restart,
            self.hold,
            minimised,
            self.with_penalty,
        )

    def init(self, key: PRNGKeyArray) -> TrainState:
        params, model_state = self.model.init(key)
        return TrainState(params, model_state, self.optimizer.init(params))

    def step(
        self, state: TrainState, mask: Mask, batch: Examples, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        self._checked(batch)
        if self.augment is not None:
            batch = self.augment(derive(key, "augment"), batch)
        minimised = functools.partial(self._minimised, state=state, batch=batch, key=key)
        # The mask is not applied to the params again: they are zero where pruned already, and
        # the masked optimizer drops the gradient there.
        grads, (metrics, model_state) = jax.grad(minimised, has_aux=True)(state.params)
        updates, opt_state = masked(self.optimizer).update(
            grads, state.opt_state, state.params, mask=mask
        )
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, model_state, opt_state, state.held), metrics

    def _minimised(
        self, params: Params, state: TrainState, batch: Examples | Mixed, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Metrics, ModelState]]:
        inputs, used = self.preprocess(batch.images), _held(params, state.held)
        logits, new_state = self.model.apply(used, state.model_state, inputs, train=True, key=key)
        value = jnp.mean(self._losses(logits, batch))
        correct = jnp.mean(over_labels(lambda y: jnp.argmax(logits, axis=-1) == y, batch))
        total = value if self.penalty is None else value + self.penalty(params, state.model_state)
        return total, ({"loss": value, "accuracy": correct}, new_state)

    def _checked(self, batch: Any) -> Any:
        """Refuses what is no labelled images, or would be taken for bytes."""
        if not isinstance(batch, (Examples, Mixed)):
            raise TicketError(
                f"data: got batches of the type {type(batch).__name__}, expected "
                "jaxticket.Examples(images, labels); others need a Learner of their own"
            )
        # Augmentation may have mixed bytes, which are floats then.
        raw = isinstance(batch, Examples) and self.augment is None
        if raw and self.preprocess is unit_interval and batch.images.dtype != jnp.uint8:
            raise TicketError(
                f"data: got {batch.images.dtype} images, which would be divided by 255, expected "
                "uint8; give supervised(..., preprocess=lambda images: images) if they are scaled"
            )
        return batch

    def _losses(self, logits: Array, batch: Examples | Mixed) -> Array:
        return over_labels(lambda y: self.loss(logits, y), batch)

    def evaluate(self, state: TrainState, mask: Mask, examples: Examples) -> Metrics:
        params = _held(masks.apply(state.params, mask), state.held)
        examples = jax.tree.map(jnp.asarray, examples)

        self._checked(examples)

        def per_example(chunk: Examples) -> Metrics:
            chunk = axes.share_out(chunk)
            inputs = self.preprocess(chunk.images)
            logits, _ = self.model.apply(params, state.model_state, inputs, train=False)
            correct = (jnp.argmax(logits, axis=-1) == chunk.labels).astype(jnp.float32)
            return {"loss": self.loss(logits, chunk.labels), "accuracy": correct}

        found = _in_chunks(per_example, examples, self.evaluation_batch_size)
        return jax.tree.map(jnp.mean, found)

    def restart(
        self, state: TrainState, params: Params, mask: Mask, *, moments: bool
    ) -> TrainState:
        params = masks.apply(params, mask)
        opt_state = state.opt_state if moments else restart(self.optimizer, state.opt_state, params)
        # New moments too: some optimizers start them above zero.
        opt_state = mask_moments(self.optimizer, opt_state, mask)
        return state._replace(params=params, opt_state=opt_state)

    def hold(self, state: TrainState, values: Any) -> TrainState:
        return state._replace(held=values)

    def with_penalty(self, added: Penalty) -> Learner:
        own = self.penalty

        def both(params: Params, model_state: ModelState) -> Array:
            extra = added(params)
            return extra if own is None else own(params, model_state) + extra

        return dataclasses.replace(self, penalty=both).learner()


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
