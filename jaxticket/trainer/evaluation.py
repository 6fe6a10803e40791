"""A population at the ends of its intervals: which splits are evaluated there, and how."""

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.learners.family import Family
from jaxticket.population import Plan, populate, share, to_host
from jaxticket.protocol import Protocol
from jaxticket.train import stopping
from jaxticket.train.steps import evaluate, measure
from jaxticket.types import Data, Metrics


class Interval(NamedTuple):
    """Steps after which the host looks at a population.

    Attributes:
      start: the first step.
      stop: the end.
      since: the step of the last evaluation, from which on training metrics are averaged.
      on_grid: whether its end is an evaluation of all networks that have begun.
      begins: whether networks begin at its end.
      ends: whether training ends there.
    """

    start: int
    stop: int
    since: int
    on_grid: bool
    begins: bool
    ends: bool


class Evaluated(NamedTuple):
    """What an evaluation finds.

    Attributes:
      metrics: `float32[P]` by name, on the host.
      at_stop: of splits that are measured at stops only, where networks begin or training ends.
      at_lowest: of the same splits at each network's early-stop step, where training ends.
      watched: what the networks leave behind, on the device; `()` if all curves are wanted.
    """

    metrics: dict[str, np.ndarray]
    at_stop: dict[str, np.ndarray]
    at_lowest: dict[str, np.ndarray]
    watched: Any


class Evaluation:
    """Evaluates populations; one compilation of each program for all of one size."""

    def __init__(self, family: Family, protocol: Protocol, data: Data, plan: Plan) -> None:
        """Puts the splits on the devices; nothing is compiled yet.

        Args:
          family: the learner of a network with given hyperparameters.
          protocol: says which splits are measured at stops only.
          data: the splits by name.
          plan: how the population runs.
        """
        seldom = stopping.only_at_stops(protocol, data)
        often = {name: split for name, split in data.items() if name not in ("train", *seldom)}
        self._family = family
        self._often, self._seldom = share(often, plan), share(seldom, plan)
        self._reads: dict[Any, list[bool]] = {}
        self._measure_all = populate(self._measure_one, plan)
        self._look_all = populate(self._look_one, plan, donate=True, fed=1)
        self._stop_all = populate(self._evaluate_seldom, plan)

    def begin_one(self, carry: Any) -> Any:
        """Makes what one network leaves behind before it trains; to be traced.

        Args:
          carry: what it carries.

        Returns:
          A `jaxticket.train.stopping.Watched`, or `()` if all curves are wanted.
        """
        if not self._seldom:
            return ()
        shapes = jax.eval_shape(self._measure_one, carry, self._often, np.int32(0), np.int32(0))
        metrics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        state = carry[0].learner
        return stopping.watch(state, self._read(carry))._replace(metrics=metrics)

    def __call__(self, carry: Any, watched: Any, interval: Interval, number: int) -> Evaluated:
        """Evaluates a population at the end of an interval.

        Args:
          carry: what the networks carry; left as it is.
          watched: what they leave behind; gone afterwards.
          interval: that has ended.
          number: how many networks are evaluated.

        Returns:
          What is found.
        """
        averaged = np.int32(interval.since), np.int32(interval.stop)
        on_grid = np.bool_(interval.on_grid)
        if not self._seldom:
            found = self._measure_all(carry, self._often, *averaged, number=number)
            return Evaluated(to_host(found), {}, {}, ())
        watched = self._look_all(watched, carry, self._often, *averaged, on_grid, number=number)
        metrics, at_stop, at_lowest = to_host(watched.metrics), {}, {}
        if interval.begins or interval.ends:
            at_stop = to_host(self._stop_all(carry, self._seldom, number=number))
        if interval.ends and stopping.LOSS in metrics:
            stopped = self._at_lowest(watched, carry)
            at_lowest = to_host(self._stop_all(stopped, self._seldom, number=number))
        return Evaluated(metrics, at_stop, at_lowest, watched)

    def _at_lowest(self, watched: Any, carry: Any) -> Any:
        """Puts the networks where their validation loss was lowest."""
        one = jax.eval_shape(lambda: jax.tree.map(operator.itemgetter(0), carry))
        training = carry[0]
        stopped = stopping.at_lowest(watched, training.learner, self._read(one))
        return training._replace(learner=stopped), *carry[1:]

    def _measure_one(self, carry: Any, data: Data, since: Any, stop: Any) -> Metrics:
        training, sums, fixed = carry
        if not isinstance(fixed.begins, tuple):
            since = jnp.clip(fixed.begins, since, stop)
        learner = self._family(fixed.hyperparameters)
        return measure(learner, training.learner, fixed.masks, data, sums, stop - since)

    def _look_one(
        self, watched: Any, carry: Any, data: Data, since: Any, stop: Any, on_grid: Any
    ) -> Any:
        training, _, fixed = carry
        metrics = self._measure_one(carry, data, since, stop)
        # Where others begin or are kept it is not evaluated: it must not depend on them.
        judged = on_grid
        if not isinstance(fixed.begins, tuple):
            judged = jnp.where(on_grid, fixed.begins <= stop, fixed.begins == stop)
        loss = jnp.where(judged, metrics.get(stopping.LOSS, jnp.nan), jnp.nan)
        watched = stopping.look(watched, training.learner, self._read(carry), loss)
        return watched._replace(metrics=metrics)

    def _evaluate_seldom(self, carry: Any, data: Data) -> Metrics:
        training, _, fixed = carry
        learner = self._family(fixed.hyperparameters)
        return evaluate(learner, training.learner, fixed.masks, data)

    def _read(self, carry: Any) -> list[bool]:
        """Says which leaves of one network's state evaluating it reads."""
        training, sums, fixed = carry
        structure = jax.tree.structure(training.learner)  # controls may hold weights, dense not
        if structure in self._reads:
            return self._reads[structure]

        def evaluated(state: Any, fixed: Any, data: Data) -> Metrics:
            return self._evaluate_seldom((training._replace(learner=state), sums, fixed), data)

        read = stopping.leaves_read(evaluated, training.learner, fixed, self._seldom)
        self._reads[structure] = read
        return read
