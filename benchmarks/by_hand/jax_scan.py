"""Training one masked network in JAX without the library: a scan over batches."""

import operator
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.common.library import compile_program
from benchmarks.common.networks import draw_batches
from benchmarks.common.problems import Problem
from benchmarks.common.timing import Contender
from jaxticket.population import Plan, pad
from jaxticket.trainer import Networks

Forward = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]
"""`forward(params, model_state, x) -> (logits, model_state)`, in training."""


def lenet_forward(params: Any, model_state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    """Computes LeNet-300-100's logits: three matrix products and two ReLUs.

    Args:
      params: `hidden_0`, `hidden_1` and `output`, each with `kernel` and `bias`.
      model_state: passed through.
      x: `float32[batch, height, width, channels]`.

    Returns:
      `float32[batch, classes]` and the model state.
    """
    x = x.reshape(len(x), -1)
    for name in ("hidden_0", "hidden_1"):
        x = jnp.maximum(x @ params[name]["kernel"] + params[name]["bias"][None], 0)
    return x @ params["output"]["kernel"] + params["output"]["bias"][None], model_state


def forward_of(problem: Problem) -> Forward:
    """Chooses the network's function: written by hand for LeNet, the library's for the others.

    XLA on a CPU runs a plain convolution inside a loop about a hundred times slower than alone
    (`jaxticket.models`), so a scan with one would be no peer of anything.

    Args:
      problem: which network.

    Returns:
      The function.
    """
    if problem.name == "lenet_300_100":
        return lenet_forward
    return lambda params, model_state, x: problem.model.apply(params, model_state, x, train=True)


def make_training(problem: Problem, forward: Forward, *, masked: bool) -> Callable[..., Any]:
    """Makes the training of one network over batches whose examples are given.

    With Adam or momentum from zero moments, masking the gradient keeps a pruned weight, which
    starts at zero, at zero: the least that a masked loop can do.

    Args:
      problem: gives optimizer and preprocessing.
      forward: the network's function.
      masked: whether gradients are masked.

    Returns:
      `train(params, model_state, opt_state, mask, images, labels, order)` with
      `order: int32[steps, batch]`; it returns params, model state, optimizer state and the mean
      loss and accuracy before each update.
    """

    def objective(params: Any, model_state: Any, images: jax.Array, labels: jax.Array) -> Any:
        logits, model_state = forward(params, model_state, problem.preprocess(images))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        correct = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
        return jnp.mean(losses), (correct, model_state)

    def train(
        params: Any,
        model_state: Any,
        opt_state: Any,
        mask: Any,
        images: Any,
        labels: Any,
        order: Any,
    ) -> Any:
        def step(carry: Any, chosen: jax.Array) -> Any:
            params, model_state, opt_state = carry
            (loss, (accuracy, model_state)), grads = jax.value_and_grad(objective, has_aux=True)(
                params, model_state, images[chosen], labels[chosen]
            )
            if masked:
                grads = jax.tree.map(
                    lambda g, m: g if m is None else jnp.where(m, g, 0), grads, mask
                )
            # optax multiplies floats by integer counts.
            with jax.numpy_dtype_promotion("standard"):
                updates, opt_state = problem.optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), model_state, opt_state), (loss, accuracy)

        trained, metrics = jax.lax.scan(step, (params, model_state, opt_state), order)
        return trained, jax.tree.map(jnp.mean, metrics)

    return train


def jax_scan(problem: Problem, networks: Networks, indices: np.ndarray) -> Contender:
    """Makes the contender that trains the tickets one after the other, each by one jitted scan.

    Args:
      problem: what is trained.
      networks: all tickets.
      indices: `int32[tickets, steps, batch]`, the examples of each batch.

    Returns:
      The contender; its outcome is `[(params, model_state, opt_state)]` on the device.
    """
    images, labels = jax.device_put((np.asarray(problem.train.images), problem.train.labels))
    jitted = jax.jit(
        make_training(problem, forward_of(problem), masked=True), donate_argnums=(0, 1, 2)
    )

    def prepare() -> list[Any]:
        states, mask = networks.states, networks.masks
        tickets = (states.params, states.model_state, states.opt_state, mask, indices)
        return [
            jax.device_put(jax.tree.map(operator.itemgetter(index), tickets))
            for index in range(len(indices))
        ]

    *state, mask, order = prepare()[0]
    began = time.perf_counter()
    train = jitted.lower(*state, mask, images, labels, order).compile()
    seconds = time.perf_counter() - began

    def run(tickets: list[Any]) -> list[Any]:
        trained = [train(*state, mask, images, labels, order)[0] for *state, mask, order in tickets]
        return jax.block_until_ready(trained)

    return Contender("jax scan by hand", prepare, run, seconds)


def by_hand(
    problem: Problem, networks: Networks, plan: Plan, steps: int, *, masked: bool
) -> Contender:
    """Makes the contender that trains by a hand-written scan under the library's plan.

    The order of the examples is drawn in the program, as the library's is: it is no part of masks.

    Args:
      problem: what is trained.
      networks: all tickets.
      plan: how they run.
      steps: how many.
      masked: whether gradients are masked.

    Returns:
      The contender.
    """
    train = make_training(problem, forward_of(problem), masked=masked)

    def train_one(network: Any, images_and_labels: Any) -> Any:
        (params, model_state, opt_state), mask, key = network
        order = draw_batches(problem, key, steps)
        trained, metrics = train(params, model_state, opt_state, mask, *images_and_labels, order)
        return (trained, mask, key), metrics

    state = networks.states
    population = (
        (state.params, state.model_state, state.opt_state),
        networks.masks,
        networks.keys,
    )
    population = pad(population, plan.padded(len(networks.keys)))
    program = compile_program(train_one, plan, population, tuple(problem.train))
    name = "masked by hand" if masked else "unmasked by hand"
    return Contender(name, lambda: program.place(population), program.call, program.compile_seconds)
