"""Training masked networks in PyTorch, lean: data on the device, no loader, nothing read back."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from benchmarks.by_hand.torch_layout import Tensors, from_torch, to_torch
from benchmarks.by_hand.torch_networks import FORWARDS
from benchmarks.common.problems import Problem
from benchmarks.common.timing import Contender
from jaxticket.trainer import Networks


class Ticket(NamedTuple):
    """One network in training.

    Attributes:
      params: leaf tensors that require gradients.
      buffers: batch statistics.
      pruned: the params that have a mask.
      masks: theirs, as floats, which multiply faster than booleans select.
      optimizer: of all params.
    """

    params: Tensors
    buffers: Tensors
    pruned: list[Any]
    masks: list[Any]
    optimizer: Any


class Training(NamedTuple):
    """Everything that does not change between tickets.

    Attributes:
      loss: `loss(params, buffers, images, labels) -> scalar`, in training.
      images: `float32[n, channels, height, width]`, preprocessed.
      labels: `int64[n]`.
      orders: `int64[tickets, steps, batch]`.
    """

    loss: Callable[..., Any]
    images: Any
    labels: Any
    orders: Any


def device() -> str:
    """Names the device that PyTorch computes on: where JAX does, as far as PyTorch can.

    Returns:
      `cuda` or `cpu`.
    """
    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def torch_loop(
    problem: Problem,
    networks: Networks,
    indices: np.ndarray,
    *,
    tuned: bool = False,
    compiled: bool = False,
) -> Contender:
    """Makes the contender that trains the tickets one after the other, step by step.

    Args:
      problem: what is trained.
      networks: all tickets.
      indices: `int32[tickets, steps, batch]`, the examples of each batch.
      tuned: whether the optimizer updates all params in one kernel (`fused=True`) and images
        have their channels last in memory, which PyTorch's performance guide advises (unverified).
      compiled: whether `torch.compile` compiles forward and backward pass.

    Returns:
      The contender; its outcome is the list of tickets.
    """
    if device() == "cuda":
        # There JAX multiplies float32 matrices in TF32 by default too.
        torch.set_float32_matmul_precision("high")
    loss = functools.partial(_loss, FORWARDS[problem.name])
    images = _images(problem)
    training = Training(
        torch.compile(loss) if compiled else loss,
        _channels_last(images) if tuned else images,
        torch.tensor(np.asarray(problem.train.labels), dtype=torch.int64, device=device()),
        torch.tensor(indices, dtype=torch.int64, device=device()),
    )
    prepare = lambda: [  # noqa: E731
        _ticket(problem, networks, index, tuned=tuned) for index in range(len(indices))
    ]
    name = "pytorch" + (" compiled" if compiled else " eager") + (", tuned" if tuned else "")
    began = time.perf_counter()
    if compiled:
        _train(training._replace(orders=training.orders[:1, :2]), prepare()[:1])
    seconds = time.perf_counter() - began
    return Contender(name, prepare, functools.partial(_train, training), seconds)


def _images(problem: Problem) -> Any:
    images = np.asarray(problem.preprocess(jnp.asarray(problem.train.images)))
    return torch.tensor(images.transpose(0, 3, 1, 2).copy(), device=device())


def _channels_last(tensor: Any) -> Any:
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _loss(forward: Any, params: Tensors, buffers: Tensors, images: Any, labels: Any) -> Any:
    return functional.cross_entropy(forward(params, buffers, images, True), labels)


def _ticket(problem: Problem, networks: Networks, index: int, *, tuned: bool) -> Ticket:
    state, setting = networks.states, problem.setting
    params, buffers, mask = (
        to_torch(tree, index, device())
        for tree in (state.params, state.model_state, networks.masks)
    )
    if tuned:
        params, mask = (
            {path: _channels_last(tensor) for path, tensor in tensors.items()}
            for tensors in (params, mask)
        )
    for tensor in params.values():
        tensor.requires_grad_()
    pruned = [params[path] for path in mask]
    values = list(params.values())
    rate = setting.learning_rate
    if setting.optimizer == "adam":
        optimizer = torch.optim.Adam(values, rate, fused=tuned)
    else:
        optimizer = torch.optim.SGD(values, rate, momentum=0.9, fused=tuned)
    return Ticket(params, buffers, pruned, [kept.float() for kept in mask.values()], optimizer)


def _train(training: Training, tickets: list[Ticket]) -> list[Ticket]:
    for ticket, order in zip(tickets, training.orders, strict=True):
        for chosen in order:
            loss = training.loss(
                ticket.params, ticket.buffers, training.images[chosen], training.labels[chosen]
            )
            ticket.optimizer.zero_grad()
            loss.backward()
            # Moments start at zero, so a pruned weight without a gradient never moves.
            gradients = [weight.grad for weight in ticket.pruned]
            torch._foreach_mul_(gradients, ticket.masks)  # pyright: ignore
            ticket.optimizer.step()
    if device() == "cuda":
        torch.cuda.synchronize()
    return tickets


def trained_trees(networks: Networks, tickets: list[Ticket]) -> tuple[Any, Any]:
    """Gives what was trained in JAX's layout.

    Args:
      networks: what it was trained from.
      tickets: the contender's outcome.

    Returns:
      Params and model states, NumPy leaves along axis 0.
    """
    state = networks.states
    return (
        from_torch(state.params, [ticket.params for ticket in tickets]),
        from_torch(state.model_state, [ticket.buffers for ticket in tickets]),
    )


def greatest_difference(problem: Problem, networks: Networks, indices: np.ndarray) -> float:
    """Compares the logits of both sides before any training, in full precision.

    Args:
      problem: what will be trained.
      networks: the first is compared.
      indices: its first batch is what both see.

    Returns:
      max |a − b| / max(1, |b|) over the logits in training and in evaluation.
    """
    chosen = indices[0, 0]
    state = jax.tree.map(lambda leaf: leaf[0], networks.states)
    x = problem.preprocess(jnp.asarray(problem.train.images)[chosen])
    apply = jax.jit(problem.model.apply, static_argnames="train")
    ticket = _ticket(problem, networks, 0, tuned=False)
    images = _images(problem)[torch.tensor(chosen, dtype=torch.int64, device=device())]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    worst = 0.0
    # Evaluation first: training moves the batch statistics.
    for train in (False, True):
        with jax.default_matmul_precision("highest"), torch.no_grad():
            ours = np.asarray(apply(state.params, state.model_state, x, train=train)[0])
            theirs = FORWARDS[problem.name](ticket.params, ticket.buffers, images, train)
        difference = np.abs(theirs.cpu().numpy() - ours) / np.maximum(1, np.abs(ours))
        worst = max(worst, float(difference.max()))
    torch.set_float32_matmul_precision(before)
    return worst
