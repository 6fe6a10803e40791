"""A population through the intervals of its training, its examples held or streamed."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket import masks
from jaxticket.costs import Ledger
from jaxticket.criteria.base import Criterion
from jaxticket.learners.base import with_params
from jaxticket.learners.family import Family
from jaxticket.population import Plan, populate, share
from jaxticket.protocol import Protocol
from jaxticket.train import begin
from jaxticket.train.batches import Fed, epoch_order
from jaxticket.train.steps import Training, advance, no_sums
from jaxticket.trainer.evaluation import Evaluated, Evaluation, Interval
from jaxticket.trainer.feeding import Call, Orders, feed
from jaxticket.trainer.pace import Pace
from jaxticket.trainer.placement import Placement, as_arrays, as_stream, steps_a_call
from jaxticket.types import Data, Metrics


class Reached(NamedTuple):
    """A population at a step at which the host looks at it.

    Attributes:
      stop: the step.
      training: what the networks carry, gone when the next one is asked for.
      sums: of the training metrics since the last evaluation, likewise.
      watched: what their evaluations left behind, likewise.
      evaluated: at the end of an interval; `None` within one.
    """

    stop: int
    training: Training
    sums: Metrics
    watched: Any
    evaluated: Evaluated | None


class Segments(NamedTuple):
    """How a population is trained.

    Attributes:
      run: `run(networks, number, intervals)` trains the first `number` networks, and tells where
        they are at the end of each interval, and every few seconds in between.
      begun: `begun(networks)` gives the shapes of what these networks carry, their sums and what
        their evaluations leave behind, without computing any.
    """

    run: Callable[[Any, int, list[Interval]], Generator[Reached]]
    begun: Callable[[Any], tuple[Training, Metrics, Any]]


def held(
    family: Family,
    criterion: Criterion,
    protocol: Protocol,
    data: Data,
    plan: Plan,
    ledger: Ledger,
) -> Segments:
    """Makes the segments of training on examples that are on the device: one call an interval.

    Args:
      family: the learner of a network with given hyperparameters.
      criterion: what watches training.
      protocol: how long, and how often to evaluate.
      data: the splits by name.
      plan: how the population runs.
      ledger: counts the seconds.

    Returns:
      The segments.
    """
    examples = share(as_arrays(data["train"]), plan)
    evaluation = Evaluation(family, protocol, data, plan)

    def begin_one(network: Any, examples: Any, start: Any) -> Any:
        train = {"train": examples}
        training = begin(criterion, protocol, network.states, network.keys, train, start)
        training = training._replace(observed=_observed(criterion, network))
        carry = training, _sums(family, protocol, network, examples), _fixed(network)
        return carry, _watched(evaluation, network, carry)

    begin_all = populate(begin_one, plan, compile_fast=True)
    train_one = _train_one(family, criterion, protocol, lambda examples, first: examples)
    train_all = _in_parts(populate(train_one, plan, donate=True), ledger)

    def segments(networks: Any, number: int, intervals: list[Interval]) -> Generator[Reached]:
        with ledger.phase("start"):
            first = np.int32(intervals[0].start)
            carry, watched = begin_all(networks, examples, first, number=number)
        for interval in intervals:
            call = Call(interval.start, interval.stop)
            carry = yield from train_all(carry, watched, examples, call, interval, number)
            with ledger.phase("evaluate"):
                evaluated = evaluation(carry, watched, interval, number)
                watched = evaluated.watched
            yield Reached(interval.stop, carry[0], carry[1], watched, evaluated)

    step = np.int32(0)
    return Segments(segments, _begun(lambda network: begin_one(network, examples, step)))


def streamed(
    family: Family,
    criterion: Criterion,
    protocol: Protocol,
    data: Data,
    plan: Plan,
    placement: Placement,
    ledger: Ledger,
) -> Segments:
    """Makes the segments of training on examples that the host feeds, some steps at a time.

    While the device runs one call, the host gathers and sends the examples of the next. The
    splits that are evaluated stay on the device. Order, randomness and the program of a step
    are those of `held`, and under `map` so are the results, to the bit.

    Args:
      family: the learner of a network with given hyperparameters.
      criterion: what watches training.
      protocol: how long, and how often to evaluate.
      data: the splits by name.
      plan: how the population runs.
      placement: says how much may be fed at a time.
      ledger: counts the seconds.

    Returns:
      The segments.
    """
    stream = as_stream(data["train"])
    evaluation = Evaluation(family, protocol, data, plan)
    sample = stream.rows(np.zeros(1, np.int32))
    last_epoch = (protocol.steps - 1) // protocol.steps_an_epoch(stream.number)

    def begin_one(network: Any) -> Any:
        state = network.states
        observed = _observed(criterion, network)
        # Masked as `advance` does, which is not called before the first evaluation.
        state = with_params(state, masks.apply(state.params, network.masks))
        training = Training(state, observed, jnp.zeros(0, jnp.int32))
        carry = training, _sums(family, protocol, network, sample), _fixed(network)
        return carry, _watched(evaluation, network, carry)

    begin_all = populate(begin_one, plan, compile_fast=True)
    train_one = _train_one(family, criterion, protocol, Fed)
    train_all = _in_parts(populate(train_one, plan, donate=True, fed=1), ledger)
    # Not populated: readers may ask from their own threads, and of several processes not all at
    # the same moment, as a program on the devices of all of them would need.
    order_all = jax.jit(
        jax.vmap(lambda key, epoch: epoch_order(key, epoch, stream.number), in_axes=(0, None))
    )

    def segments(networks: Any, number: int, intervals: list[Interval]) -> Generator[Reached]:
        a_step = protocol.batch_size * sum(leaf.nbytes for leaf in jax.tree.leaves(sample))
        on_each = networks.keys.shape[0] // plan.devices
        steps = steps_a_call(protocol, on_each, a_step, placement.fed_bytes)
        calls = [_cut(interval, steps) for interval in intervals]
        orders = Orders(lambda epoch: order_all(networks.keys, epoch), last_epoch + 1)
        every_call = [call for interval in calls for call in interval]
        ready = feed(stream, protocol, orders, every_call, steps, plan)
        with ledger.phase("start"):
            carry, watched = begin_all(networks, number=number)
        with contextlib.closing(ready):
            with ledger.phase("data"):
                fed = next(ready)
            for interval, its_calls in zip(intervals, calls, strict=True):
                for call in its_calls:
                    coming: list[Any] = []
                    gather = lambda coming=coming: coming.append(next(ready, None))  # noqa: E731
                    carry = yield from train_all(
                        carry, watched, fed, call, interval, number, gather
                    )
                    [fed] = coming
                with ledger.phase("evaluate"):
                    evaluated = evaluation(carry, watched, interval, number)
                    watched = evaluated.watched
                yield Reached(interval.stop, carry[0], carry[1], watched, evaluated)

    return Segments(segments, _begun(begin_one))


def _begun(begin_one: Callable[..., Any]) -> Callable[[Any], tuple[Training, Metrics, Any]]:
    def begun(networks: Any) -> tuple[Training, Metrics, Any]:
        (training, sums, _), watched = jax.eval_shape(jax.vmap(begin_one), networks)
        return training, sums, watched

    return begun


def _in_parts(train_all: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    """Makes a call's training give the host a look every few seconds; its bits stay the same.

    `in_parts(carry, watched, given, call, interval, number, meanwhile)` gives what the networks
    carry at the end of the call. `meanwhile` is called once, while the device computes the last
    part.
    """
    paces: dict[int, Pace] = {}

    def in_parts(
        carry: Any,
        watched: Any,
        given: Any,
        call: Call,
        interval: Interval,
        number: int,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Generator[Reached, None, Any]:
        start, first, since = call.start, np.int32(call.start), np.int32(interval.since)
        pace = paces.setdefault(number, Pace())
        if call.start == interval.start:
            pace.begin()
        while True:
            stop = pace.stop(start, call.stop)
            with ledger.phase("train"), pace.timing(stop - start):
                bounds = np.int32(start), np.int32(stop)
                carry = train_all(carry, given, first, *bounds, since, number=number)
                if stop == call.stop:
                    meanwhile()
                # So that no more than two calls' examples are ever on the device.
                jax.block_until_ready(carry[1])
            if stop < interval.stop and pace.look():
                yield Reached(stop, carry[0], carry[1], watched, None)
            if stop == call.stop:
                return carry
            start = stop

    return in_parts


def _cut(interval: Interval, steps: int) -> list[Call]:
    starts = range(interval.start, interval.stop, steps)
    return [Call(start, min(start + steps, interval.stop)) for start in starts]


class _Fixed(NamedTuple):
    """What a network keeps from its first step to its last; see `Networks`."""

    masks: Any
    keys: Any
    hyperparameters: Any
    begins: Any


def _fixed(network: Any) -> _Fixed:
    return _Fixed(network.masks, network.keys, network.hyperparameters, network.begins)


def _observed(criterion: Criterion, network: Any) -> Any:
    """Gives what the criterion observed of a network until here."""
    earlier = jax.tree.leaves(network.observed)
    return network.observed if earlier else criterion.init(network.states.params)


def _watched(evaluation: Evaluation, network: Any, carry: Any) -> Any:
    """Gives what the evaluations of a network left behind until here."""
    return network.watched if jax.tree.leaves(network.watched) else evaluation.begin_one(carry)


def _sums(family: Family, protocol: Protocol, network: Any, examples: Any) -> Metrics:
    """Gives the sums of the training metrics until here, zero where training begins."""
    if jax.tree.leaves(network.sums):
        return network.sums
    learner, size = family(network.hyperparameters), protocol.batch_size
    return no_sums(learner, network.states, network.masks, network.keys, examples, size)


def _train_one(
    family: Family, criterion: Criterion, protocol: Protocol, examples_of: Callable[..., Any]
) -> Callable[..., Any]:
    """Makes the program of one part; `examples_of(given, first)` is what batches are drawn from,
    `first` being the first step of what is given.
    """

    def train_one(carry: Any, given: Any, first: Any, start: Any, stop: Any, since: Any) -> Any:
        training, sums, fixed = carry
        training, sums = advance(
            family(fixed.hyperparameters),
            criterion,
            protocol,
            training,
            _since(sums, start == since),
            fixed.masks,
            fixed.keys,
            examples_of(given, first),
            start,
            stop,
            None if isinstance(fixed.begins, tuple) else fixed.begins,
        )
        return training, sums, fixed

    return train_one


def _since(sums: Metrics, anew: Any) -> Metrics:
    return jax.tree.map(lambda total: jnp.where(anew, jnp.zeros_like(total), total), sums)
