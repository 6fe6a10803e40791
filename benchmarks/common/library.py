"""The library's own training, compiled ahead so that its time and memory are known."""

import operator
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.common.problems import Problem
from benchmarks.common.timing import Contender
from jaxticket.population import Plan, join, populate, share, to_host
from jaxticket.population.memory import program_bytes
from jaxticket.protocol import Protocol
from jaxticket.train import UNWATCHED, begin, segment
from jaxticket.trainer import Networks


class Program(NamedTuple):
    """A compiled population.

    Attributes:
      call: `call(networks) -> trained`, on the device.
      place: puts networks where `call` takes them.
      compile_seconds: what compiling took.
      bytes: arguments, results and temporary arrays of all devices, as the compiler plans them.
    """

    call: Any
    place: Any
    compile_seconds: float
    bytes: int


def compile_program(function: Any, plan: Plan, networks: Any, shared: Any) -> Program:
    """Compiles a function of one network for a population, before it is needed.

    Args:
      function: `function(network, shared) -> outputs`.
      plan: how it runs.
      networks: leaves along axis 0, of a size that the plan's devices divide.
      shared: what all networks share.

    Returns:
      The program; `call` may use up what `place` gave.
    """
    shared = share(shared, plan)
    began = time.perf_counter()
    run = jax.jit(populate(function, plan), donate_argnums=0)
    compiled = run.lower(networks, shared).compile()
    seconds = time.perf_counter() - began
    where = compiled.input_shardings[0]
    shared = jax.device_put(shared, where[1])
    # A copy, since `call` uses up what it is given.
    place = lambda networks: jax.device_put(networks, where[0], may_alias=False)  # noqa: E731
    return Program(
        lambda networks: jax.block_until_ready(compiled(networks, shared)),
        place,
        seconds,
        (program_bytes(compiled) or 0) * plan.all_devices,
    )


def compile_training(problem: Problem, networks: Networks, plan: Plan, steps: int) -> Program:
    """Compiles the training of a population: `steps` steps from 0 on, with no evaluation.

    Args:
      problem: what is trained.
      networks: the population, of a size that the plan's devices divide.
      plan: how it runs.
      steps: how many.

    Returns:
      The program; it trains `networks` and returns their learner states, masks and keys.
    """
    protocol = Protocol(steps, problem.setting.batch_size, steps)
    data = {"train": problem.train}

    # As in `jaxticket.trainer`, where the bounds are traced too.
    def train_one(network: Networks, shared: Any) -> Any:
        data, stop = shared
        state, mask, key = network.states, network.masks, network.keys
        training = begin(UNWATCHED, protocol, state, key, data, 0)
        trained, _ = segment(
            problem.learner, UNWATCHED, protocol, training, mask, key, data, 0, stop
        )
        # The mask and key too, into the memory that was given up for them.
        return trained.learner, mask, key

    return compile_program(train_one, plan, networks, (data, np.int32(steps)))


def library(
    problem: Problem,
    networks: Networks,
    plan: Plan,
    steps: int,
    name: str = "jaxticket",
    tickets: int | None = None,
) -> tuple[Contender, int]:
    """Makes the contender that trains with the library under a plan.

    Args:
      problem: what is trained.
      networks: the tickets.
      plan: how they run; its `chunk`, if it has one, is how many train at a time.
      steps: how many.
      name: the contender's.
      tickets: how many train, the networks over and over again if these are fewer.

    Returns:
      The contender, whose outcome is the trained states on the device, and the bytes that its
      largest call needs.
    """
    number = networks.keys.shape[0]
    tickets = tickets or number
    size = plan.padded(min(tickets, plan.chunk or tickets))

    def piece(first: int) -> Networks:
        chosen = np.arange(first, first + size) % number
        return jax.tree.map(operator.itemgetter(chosen), networks)

    program = compile_training(problem, piece(0), plan, steps)
    contender = Contender(
        name,
        lambda: [program.place(piece(first)) for first in range(0, tickets, size)],
        lambda placed: [program.call(networks) for networks in placed],
        program.compile_seconds,
    )
    return contender, program.bytes


def states_of(outcome: list[Any], tickets: int) -> Any:
    """Copies what `library` trained to the host, without the padding.

    Args:
      outcome: of the contender.
      tickets: how many networks there are.

    Returns:
      The learner states, NumPy leaves along axis 0.
    """
    joined = join([to_host(states) for states, *_ in outcome])
    return jax.tree.map(lambda leaf: leaf[:tickets], joined)
