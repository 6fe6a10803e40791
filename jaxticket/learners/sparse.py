"""Training under a mask that changes: dynamic sparse training, gradual and cyclic pruning."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jaxticket import masks
from jaxticket.criteria.base import Criterion, CriterionState, Evidence, stateless
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, LearnerState, Penalty
from jaxticket.learners.seldom import seldom
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.topology.base import Start, Topology, everything
from jaxticket.types import Batch, Mask, Metrics, ModelState, Objective, Params


class Sparse(NamedTuple):
    """The model state of a network whose mask changes, so that whatever keeps it keeps the mask.

    Attributes:
      network: the network's own model state.
      mask: which weights are kept now.
      step: how many steps were made, `int32[]`.
      initial: θ_0, the params at step 0; `()` unless the topology's criterion reads it.
      observed: what that criterion observed, since the start or since weights last came back.
    """

    network: ModelState
    mask: Mask
    step: Int[Array, ""]
    initial: Params = ()
    observed: CriterionState = ()


def sparse(
    learner: Learner,
    topology: Topology,
    *,
    start: Start = everything,
    prunable: Prunable = kernels,
) -> Learner:
    """Makes a learner whose networks train under a mask of their own, which changes as they do.

    Every step is a step of `learner` under the network's mask. Where the topology is due, the
    mask then changes: a dropped weight becomes exactly 0 at once and so do its moments; a grown
    one begins at exactly 0 with zero moments; nothing else changes. The mask that the learner is
    given says where weights may be: after a restart, what both masks keep. The criterion of the
    topology watches every step, and begins anew with a restart and wherever weights come back,
    which begin anew too; its θ_0 stays what was drawn.

    Args:
      learner: how a step is made; it says its objective if the topology reads it.
      topology: when and how the mask changes, from `jaxticket.topology`.
      start: the mask at step 0.
      prunable: which leaves have a mask; the same as `find_tickets` is told.

    Returns:
      The learner. Its model state is a `Sparse`; `evaluate` also gives `kept`, the number of
      weights that the mask keeps, `float32[]`, exact to 2^24.

    Raises:
      TicketError: when a network starts to train, if a criterion lacks what it reads.

    Example:
      >>> import optax
      >>> from jaxticket import Model, allocate, topology
      >>> from jaxticket.learners import supervised
      >>> model = Model(
      ...     init=lambda key: ({"kernel": jax.random.normal(key, (4, 5))}, {}),
      ...     apply=lambda params, state, x, *, train, key=None: (
      ...         x.reshape(len(x), -1) @ params["kernel"], state),
      ... )
      >>> rule = topology.rigl(every=10, stop=75, fraction=0.3)
      >>> start = topology.at_random(allocate.uniform(0.75))
      >>> learner = sparse(supervised(model, optax.adam(0.1)), rule, start=start)
      >>> int(jnp.count_nonzero(learner.init(jax.random.key(0)).params["kernel"]))
      5

    Source: 1911.11134 and 1707.04780 (rewiring), 1710.01878 (gradual pruning); that moments of
    grown weights start at zero is `reset_momentum` of RigL's authors.
    """
    return _Sparse(learner, topology, start, prunable).learner()


@dataclasses.dataclass(frozen=True, eq=False)
class _Sparse:
    """What `sparse` was given, and the functions that it makes of it."""

    inner: Learner
    topology: Topology
    start: Start
    prunable: Prunable

    def learner(self) -> Learner:
        return Learner(
            self.init,
            self.step,
            self.evaluate,
            self.restart,
            objective=_objective(self.inner.objective),
            with_penalty=None if self.inner.with_penalty is None else self.with_penalty,
        )

    @property
    def criterion(self) -> Criterion:
        return _UNREAD if self.topology.criterion is None else self.topology.criterion

    @property
    def keeps_initial(self) -> bool:
        return "initial" in self.criterion.reads

    def init(self, key: PRNGKeyArray) -> LearnerState:
        state = self.inner.init(key)
        dense = masks.ones(state.params, self.prunable)
        mask = self.start(derive(key, "topology"), state.params, dense)
        state = self.inner.restart(state, state.params, mask, moments=True)
        initial = state.params if self.keeps_initial else ()
        observed = self.criterion.init(state.params)
        own = Sparse(state.model_state, mask, jnp.zeros((), jnp.int32), initial, observed)
        return state._replace(model_state=own)

    def step(
        self, state: LearnerState, mask: Mask, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, Metrics]:
        before = state.model_state
        own, made = masks.intersect(before.mask, mask), before.step + 1
        inner, metrics = self.inner.step(_unwrap(state), own, batch, key)
        observed = self.criterion.observe(before.observed, inner)
        state = _wrap(inner, before._replace(mask=own, step=made, observed=observed))
        # The batch's own randomness is the step's; that of the change has its own name.
        given = (state, mask, batch, derive(key, "topology"))
        due = self.topology.due(made)
        return seldom(due, lambda given: self._changed(*given), given, state), metrics

    def _changed(
        self, state: LearnerState, limit: Mask, batch: Batch, key: PRNGKeyArray
    ) -> LearnerState:
        own = state.model_state
        evidence = Evidence(
            own.initial if self.keeps_initial else None,
            state.params,
            key,
            own.mask,
            own.network,
            batch,
            self.inner.objective,
        )
        after = self.topology.change(own.step, evidence, limit, own.observed)
        # What stays is in both: the rest, dropped or grown, is zero, with its moments.
        stays = masks.intersect(own.mask, after)
        inner = self.inner.restart(_unwrap(state), state.params, stays, moments=True)
        anew = self.criterion.init(inner.params)
        observed = _choose(_any_grown(own.mask, after), anew, own.observed)
        return _wrap(inner, own._replace(mask=after, observed=observed))

    def evaluate(self, state: LearnerState, mask: Mask, examples: Batch) -> Metrics:
        own = masks.intersect(state.model_state.mask, mask)
        kept = sum(
            (jnp.sum(leaf, dtype=jnp.int32) for leaf in jax.tree.leaves(own)), start=jnp.int32(0)
        )
        metrics = self.inner.evaluate(_unwrap(state), own, examples)
        return metrics | {"kept": kept.astype(jnp.float32)}

    def restart(
        self, state: LearnerState, params: Params, mask: Mask, *, moments: bool
    ) -> LearnerState:
        before = state.model_state
        own = masks.intersect(before.mask, mask)
        inner = self.inner.restart(_unwrap(state), params, own, moments=moments)
        initial = before.initial
        if self.keeps_initial:
            # What trains on from a later step has the θ_0 that it had.
            initial = _choose(before.step == 0, inner.params, initial)
        observed = self.criterion.init(inner.params)
        return _wrap(inner, before._replace(mask=own, initial=initial, observed=observed))

    def with_penalty(self, penalty: Penalty) -> Learner:
        assert self.inner.with_penalty is not None, "only where the learner has it"
        return dataclasses.replace(self, inner=self.inner.with_penalty(penalty)).learner()


_UNREAD: Criterion = stateless(lambda evidence: evidence.final)
"""The criterion of a topology that has none."""


def _wrap(state: LearnerState, own: Sparse) -> LearnerState:
    return state._replace(model_state=own._replace(network=state.model_state))


def _unwrap(state: LearnerState) -> LearnerState:
    return state._replace(model_state=state.model_state.network)


def _any_grown(before: Mask, after: Mask) -> Any:
    grown = jax.tree.map(lambda old, new: jnp.any(new & ~old), before, after)
    return jnp.any(jnp.stack(jax.tree.leaves(grown)))


def _choose(condition: Any, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _objective(objective: Objective | None) -> Objective | None:
    """Lets an objective find the network's model state."""
    if objective is None:
        return None

    def apply(params: Params, state: Sparse, inputs: Any, **options: Any) -> tuple[Any, Sparse]:
        outputs, network = objective.apply(params, state.network, inputs, **options)
        return outputs, state._replace(network=network)

    return objective._replace(apply=apply)
