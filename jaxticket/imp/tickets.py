"""The ticket: level after level, all replicates at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.allocate.base import Counts
from jaxticket.criteria.base import Evidence
from jaxticket.imp.monitor import Monitor, checked, kept_source, source_of
from jaxticket.imp.pruned import PrunedLevel, check_pruned
from jaxticket.imp.repelling import repeller
from jaxticket.imp.setup import Setup, make_record
from jaxticket.learners.base import Learner
from jaxticket.records import Coordinate, Dropped, Origin, Record, Store
from jaxticket.rewind import rewind
from jaxticket.trainer import Networks, Trainer
from jaxticket.types import Mask, Params


class Pruned(NamedTuple):
    """What the mask of one network of a ticket is made from.

    Attributes:
      evidence: what its criterion is given; `final` and `model_state` are those before pruning.
      mask: the mask of the level before.
      counts: what the level keeps.
      observed: what the criteria observed of the training before.
      pruner: of its lineage.
      hyperparameters: of its lineage.
      dense: params, model state and observations of the trained dense network; `()` if no lineage
        prunes at once.
      rewound: params and model state at the rewind step; `()` if no lineage prunes there.
      oneshot: whether its lineage prunes at once.
      at_start: whether its lineage prunes before training.
    """

    evidence: Evidence
    mask: Mask
    counts: Any
    observed: Any
    pruner: Any
    hyperparameters: Any
    dense: Any
    rewound: Any
    oneshot: Any
    at_start: Any


class Restart(NamedTuple):
    """What one pruned network of a ticket is trained again from.

    Attributes:
      origin: of its lineage.
      trained: params and model state before it was pruned.
      mask: what is left.
      hyperparameters: of its lineage, for training again.
      moments: whether it takes the moments of the rewind step.
      keeps_weights: whether it goes on from the trained weights.
      keeps_rate: whether it goes on with the last learning rate.
      action: of its lineage, an index into the run's.
      keys: for its action and for new initial weights; `()` if all lineages only rewind.
    """

    origin: Origin
    trained: Any
    mask: Mask
    hyperparameters: Any
    moments: Any
    keeps_weights: Any
    keeps_rate: Any
    action: Any
    keys: Any


def train_tickets(
    setup: Setup,
    train: Trainer,
    dense: Mask,
    origin: Origin | None,
    records: list[Record],
    store: Store,
    tell: Callable[..., None],
    check: Monitor,
) -> Origin:
    """Trains the levels that the records do not hold yet, and appends them.

    Args:
      setup: what was chosen.
      train: from `jaxticket.trainer.trainer`.
      dense: the dense mask of one network.
      origin: from an earlier call, or `None`.
      records: finished networks; the new levels are appended.
      store: where each level is kept as soon as it is finished.
      tell: called after every compiled call.
      check: looks at each level before it is kept.

    Returns:
      The origin of all tickets.

    Raises:
      MaskError: if global allocation empties a layer.
      TicketError: if a network that has not diverged has scores that are not finite.
      ContractError: if a network breaks a contract.
    """
    lineages = setup.lineages
    done = {record.levels[0]: record for record in records if record.arms[0] == "ticket"}
    if origin is None or 0 not in done:
        origin, done[0] = _train_dense(setup, train, dense, tell)
        store.save_origin(origin)
        _keep(setup, done[0], records, store)
    prune_all = setup.over(_prune_one(setup), setup.ticket_size)
    restart_all = setup.over(_restart_one(setup), setup.ticket_size)
    repel = repeller(setup)
    for level in sorted(_to_train(setup, done)):
        kept = level in done
        before = done[level - 1]
        with setup.ledger.phase("prune"):
            mask, lost = prune_all(_pruned(setup, origin, done[0], before, level))
            check_pruned(setup, level, PrunedLevel(mask, lost, done[0], before))
        with setup.ledger.phase("start"):
            states = restart_all(_restarts(setup, origin, before, mask, level))
            given = repel([done[earlier] for earlier in range(level)], mask)
        networks = Networks(
            states,
            mask,
            setup.level_keys("train", level),
            given,
            setup.begins(),
        )
        trained = train(
            networks,
            setup.ticket_size,
            start=int(lineages.begins.min()),
            # What was counted when it was first trained counts once.
            on_segment=lambda steps, metrics, level=level, kept=kept: tell(
                "ticket", level, 0 if kept else steps, metrics
            ),
        )
        source = kept_source(
            setup, source_of(setup, origin.rewound), before.params, before.model_state
        )
        compared = checked(networks, trained, before.masks, source)
        check(names_of(setup, level), compared, setup.ticket_size)
        done[level] = make_record(names_of(setup, level), trained, mask)
        if not kept:
            _keep(setup, done[level], records, store)
    return origin


def _to_train(setup: Setup, done: dict[int, Record]) -> set[int]:
    """Lists the levels that are missing, and those whose params they need and a store dropped."""
    wanted = {level for level in range(1, setup.levels) if level not in done}
    for level in range(setup.levels - 1, 0, -1):
        needed = range(1, level) if setup.lineages.repulsion.any() else range(level - 1, level)
        if level in wanted:
            dropped = [n for n in needed if n in done and isinstance(done[n].params, Dropped)]
            wanted.update(dropped)
    return wanted


def _train_dense(
    setup: Setup, train: Trainer, dense: Mask, tell: Callable[..., None]
) -> tuple[Origin, Record]:
    """Trains the dense networks, each once, and hands them to their lineages."""
    lineages, rows = setup.lineages, setup.lineages.dense_lineages
    given = jax.tree.map(lambda leaf: leaf[rows], lineages.hyperparameters)
    states = initial_states(setup, rows)
    mask = jax.tree.map(lambda leaf: np.repeat(leaf[None], len(rows), axis=0), dense)
    end = setup.protocol.steps
    fine_tunes = lineages.keeps_rate.any()
    snapshots = sorted({*lineages.begins.tolist(), *([end] if fine_tunes else [])})
    trained = train(
        Networks(states, mask, setup.level_keys("train", 0)[rows], given, _from_zero(setup, rows)),
        setup.ticket_size,
        snapshots=tuple(snapshots),
        on_segment=lambda steps, metrics: tell("ticket", 0, steps, metrics),
    )
    own = lambda tree: jax.tree.map(lambda leaf: leaf[lineages.dense], tree)  # noqa: E731
    rewound = _each_at(trained.snapshots, lineages.begins, lineages.dense)
    final = own(trained.snapshots[end]) if fine_tunes else ()
    expanded = trained._replace(training=own(trained.training), curves=own(trained.curves))
    record = make_record(names_of(setup, 0), expanded, own(mask))
    return Origin(own(states.params), rewound, final), record


def initial_states(setup: Setup, rows: np.ndarray) -> Any:
    """Makes the learner's states that lineages begin with.

    Args:
      setup: what was chosen.
      rows: `int64[n]`, which lineages.

    Returns:
      States along axis 0.
    """
    given = jax.tree.map(lambda leaf: leaf[rows], setup.lineages.hyperparameters)
    with setup.ledger.phase("start"):
        init_all = setup.over(lambda one: setup.family(one[0]).init(one[1]), setup.ticket_size)
        return init_all((given, setup.lineages.keys[rows]))


def _from_zero(setup: Setup, rows: np.ndarray) -> Any:
    """Lets dense networks begin at 0, in the words of later levels, whose program serves both."""
    return np.zeros_like(rows, np.int32) if np.size(setup.begins()) else ()


def _each_at(snapshots: dict[int, Any], steps: np.ndarray, rows: np.ndarray) -> Any:
    """Gathers states of different steps along axis 0."""
    if len(set(steps.tolist())) == 1:
        return jax.tree.map(lambda leaf: leaf[rows], snapshots[int(steps[0])])
    pairs = list(zip(steps.tolist(), rows.tolist(), strict=True))
    states = [jax.tree.map(lambda leaf, r=r: leaf[r], snapshots[step]) for step, r in pairs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def names_of(setup: Setup, level: int) -> list[Coordinate]:
    """Names the networks of a level of the ticket, in the order of their lineages."""
    lineages = setup.lineages
    pairs = map(lineages.name, range(lineages.number))
    return [Coordinate("ticket", level, replicate, variant) for variant, replicate in pairs]


def _keep(setup: Setup, record: Record, records: list[Record], store: Store) -> None:
    records.append(record)
    with setup.ledger.phase("checkpoint"):
        store.save(record)


def _pruned(setup: Setup, origin: Origin, dense: Record, before: Record, level: int) -> Pruned:
    """Collects along axis 0 what the masks of a level are made from."""
    lineages = setup.lineages
    at_once, at_start = lineages.oneshot.any(), lineages.at_start.any()
    evidence = Evidence(
        origin.initial,
        before.params,
        setup.level_keys("prune", level),
        model_state=before.model_state,
        examples=setup.scoring,
    )
    return Pruned(
        evidence=evidence,
        mask=before.masks,
        counts=lineages.counts(level),
        observed=before.observed,
        pruner=lineages.pruner,
        hyperparameters=lineages.hyperparameters,
        dense=(dense.params, dense.model_state, dense.observed) if at_once else (),
        rewound=(origin.rewound.params, origin.rewound.model_state) if at_start else (),
        oneshot=lineages.oneshot,
        at_start=lineages.at_start,
    )


def _prune_one(setup: Setup) -> Callable[[Pruned], tuple[Mask, Counts]]:
    """Makes the mask of one network from what its lineage prunes, and counts what is no score."""

    def one(network: Pruned) -> tuple[Mask, Counts]:
        evidence, mask, observed = network.evidence, network.mask, network.observed
        final = evidence.final, evidence.model_state
        if network.dense:
            final = _choose(network.oneshot, network.dense[:2], final)
            observed = _choose(network.oneshot, network.dense[2], observed)
        if network.rewound:
            final = _choose(network.at_start, network.rewound, final)
        if network.dense or network.rewound:
            anew = network.oneshot | network.at_start
            mask = jax.tree.map(lambda kept: kept | anew, mask)
        evidence = evidence._replace(final=final[0], model_state=final[1])
        made, lost = setup.prune(
            network.pruner, network.hyperparameters, evidence, mask, network.counts, observed
        )
        # Of weights that are no numbers nobody expects a score.
        whole = _all_finite(final)
        return made, {path: jnp.where(whole, number, 0) for path, number in lost.items()}

    return one


def _all_finite(tree: Any) -> Any:
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floats]))


def _restarts(setup: Setup, origin: Origin, before: Record, mask: Mask, level: int) -> Restart:
    lineages = setup.lineages
    keys = setup.level_keys("action", level), setup.level_keys("reinit", level)
    trained = (before.params, before.model_state) if lineages.keeps_weights.any() else ()
    return Restart(
        origin._replace(initial=()),
        trained,
        mask,
        lineages.retraining_hyperparameters,
        lineages.moments,
        lineages.keeps_weights,
        lineages.keeps_rate,
        lineages.action,
        () if lineages.actions == (rewind,) else keys,
    )


def _restart_one(setup: Setup) -> Callable[[Restart], Any]:
    """Makes the state that one pruned network trains from, by its lineage's retraining."""

    def one(restart: Restart) -> Any:
        state = restart.origin.rewound
        if restart.origin.final:
            # Only what is not replaced below stays of it: the counts of schedules.
            state = _choose(restart.keeps_rate, restart.origin.final, state)
        kept = restart.origin.rewound.params, restart.origin.rewound.model_state
        if restart.trained:
            kept = _choose(restart.keeps_weights, restart.trained, kept)
        state = state._replace(params=kept[0], model_state=kept[1])
        learner = setup.family(restart.hyperparameters)
        params = _act(setup, restart, learner, kept[0]) if restart.keys else kept[0]
        return setup.moments(
            lambda moments: learner.restart(state, params, restart.mask, moments=moments),
            restart.moments,
        )

    return one


def _act(setup: Setup, restart: Restart, learner: Learner, kept: Params) -> Params:
    """Makes of the weights that are left what the lineage's action makes of them."""
    of_action, of_fresh = restart.keys
    fresh = learner.init(of_fresh).params
    given = of_action, kept, fresh, restart.mask
    return jax.lax.switch(restart.action, setup.lineages.actions, *given)


def _choose(condition: Any, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
