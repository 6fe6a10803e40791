"""Iterative pruning: train -> prune -> rewind, level after level, and all controls at once."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket import masks
from jaxticket.allocate.base import Allocation, Counts
from jaxticket.arms import ARMS, DEFAULT_ARMS, Arm, check_arms
from jaxticket.criteria import magnitude
from jaxticket.criteria.base import Criterion, Evidence
from jaxticket.errors import MaskError, TicketError
from jaxticket.keys import derive
from jaxticket.learners.base import Learner
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.population import Plan, pad, populate, to_host
from jaxticket.prune import prune, schedule
from jaxticket.records import Memory, Origin, Record, Result, Store, Template
from jaxticket.train import Data, Protocol
from jaxticket.trainer import Networks, Trained, trainer


class Progress(NamedTuple):
    """What is told after every compiled call.

    Attributes:
      arm: the arm of the first network in training.
      level: its level.
      done: network-steps made so far, those of an earlier call that was resumed included.
      total: network-steps of the whole run.
      metrics: the newest metrics, `float32[P]` each.
    """

    arm: str
    level: int
    done: int
    total: int
    metrics: dict[str, np.ndarray]


class Coordinate(NamedTuple):
    """The name of a network in a run."""

    arm: str
    level: int
    replicate: int


def find_tickets(
    learner: Learner,
    data: Data,
    key: PRNGKeyArray,
    protocol: Protocol,
    allocation: Allocation,
    *,
    levels: int,
    replicates: int,
    criterion: Criterion | None = None,
    prunable: Prunable = kernels,
    arms: tuple[str, ...] = DEFAULT_ARMS,
    rewind_step: int = 0,
    rewind_moments: bool = False,
    plan: Plan | None = None,
    store: Store | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Finds winning tickets by iterative pruning and trains their controls.

    Level 0 trains the dense network f(x; θ_0). Level n + 1 prunes what level n trained, goes
    back to θ_k and trains again: m_{n+1} = prune(m_n, θ_T), then Train(m_{n+1} ⊙ θ_k). The
    replicates of a level train together; then every other arm at every level trains, all as
    one population. Network r of an arm shares with network r of every other arm its
    initialisation and, at the same level, its data order.

    Args:
      learner: how a network is trained.
      data: the splits by name; `train` is trained on, the others are evaluated.
      key: a typed key, from which everything random is derived by name.
      protocol: steps, batch size and evaluation interval.
      allocation: how many weights go at each level, and from where.
      levels: number of levels, the dense one included.
      replicates: number of independent initialisations.
      criterion: what a weight is worth; final magnitude if `None`.
      prunable: which leaves may be pruned, by path.
      arms: names from `jaxticket.arms.ARMS`; the ticket is always among them.
      rewind_step: the step k to which tickets go back; training then runs from k on.
      rewind_moments: whether a rewound ticket also takes the optimizer's moments at k.
      plan: how populations run; `Plan.auto()` if `None`.
      store: keeps what is finished and gives it back in the next call; nothing if `None`.
      on_progress: called after every compiled call.

    Returns:
      Masks, trained params and curves of every arm, level and replicate.

    Raises:
      TicketError: for sizes that are not positive, an unknown arm, a rewind step past the end.
      MaskError: for a schedule that would empty a layer.

    Example:
      See `notebooks/01_winning_ticket.ipynb`.

    Source: 1803.03635, section 1, strategy 1; 1912.05671, section 2, for k > 0.
    """
    if replicates < 1:
        raise TicketError(f"replicates: got {replicates}, expected at least 1")
    protocol.boundaries(rewind_step)
    run = _Run(
        learner=learner,
        criterion=criterion or magnitude(),
        allocation=allocation,
        protocol=protocol,
        prunable=prunable,
        arms=check_arms(arms),
        levels=levels,
        replicates=replicates,
        rewind_step=rewind_step,
        rewind_moments=rewind_moments,
        plan=plan or Plan.auto(),
        keys=_replicate_keys(key, replicates),
    )
    return _find(run, data, store or Memory(), on_progress or (lambda progress: None))


class _Run(NamedTuple):
    """Everything that was chosen, so that the parts below take one argument."""

    learner: Learner
    criterion: Criterion
    allocation: Allocation
    protocol: Protocol
    prunable: Prunable
    arms: tuple[str, ...]
    levels: int
    replicates: int
    rewind_step: int
    rewind_moments: bool
    plan: Plan
    keys: jax.Array


class _Start(NamedTuple):
    """What one control network is made from."""

    arm: Any
    level: Any
    key: Any
    counts: Counts
    ticket_mask: Any
    initial: Any
    rewound: Any
    dense: Any
    observed: Any


def _find(
    run: _Run, data: Data, store: Store, on_progress: Callable[[Progress], None]
) -> Result:
    template = _template(run)
    dense = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), template.mask)
    counts = schedule(run.allocation, dense, run.levels)
    origin, records = store.load(template)
    fit = trainer(run.learner, run.criterion, run.protocol, data, run.plan)
    tell = _teller(run, records, on_progress)

    origin = _tickets(run, fit, dense, counts, origin, records, store, tell)
    _controls(run, fit, counts, origin, records, store, tell)
    size = sum(masks.sizes(dense).values())
    return Result(run.arms, run.levels, run.replicates, counts, size, origin, records)


def _tickets(
    run: _Run,
    fit: Any,
    dense: Any,
    counts: tuple[Counts, ...],
    origin: Origin | None,
    records: list[Record],
    store: Store,
    tell: Any,
) -> Origin:
    """Trains the ticket level by level, from where the records end."""
    size = run.plan.padded(min(run.replicates, run.plan.chunk or run.replicates))
    initial_states = _over(populate(run.learner.init, run.plan), size)(run.keys)
    prune_all = _over(populate(_prune_one(run), run.plan), size)
    restart_all = _over(populate(_restart_one(run), run.plan), size)
    mask = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (run.replicates, *leaf.shape)), dense)
    done = {record.levels[0]: record for record in records if record.arms[0] == "ticket"}

    for level in range(run.levels):
        if level > 0:
            previous = done[level - 1]
            keys = _level_keys(run.keys, "prune", level)
            evidence = Evidence(origin.initial, previous.params, keys)
            kept = _repeated(counts[level], run.replicates)
            mask = prune_all((evidence, previous.masks, kept, previous.observed))
            _check_not_empty(mask, level)
        if level in done:
            continue
        if level == 0:
            states, start = initial_states, 0
        else:
            states, start = restart_all((origin.rewound, mask)), run.rewind_step
        keys = _level_keys(run.keys, "train", level)
        trained = _in_pieces(
            fit,
            Networks(states, mask, keys),
            size,
            start=start,
            snapshot=run.rewind_step if level == 0 else None,
            on_segment=lambda steps, metrics, level=level: tell("ticket", level, steps, metrics),
        )
        if level == 0:
            origin = Origin(initial_states.params, trained.snapshot)
            store.save_origin(origin)
        coordinates = [Coordinate("ticket", level, r) for r in range(run.replicates)]
        done[level] = _record(coordinates, trained, mask)
        records.append(done[level])
        store.save(done[level])
    assert origin is not None
    return origin


def _controls(
    run: _Run,
    fit: Any,
    counts: tuple[Counts, ...],
    origin: Origin,
    records: list[Record],
    store: Store,
    tell: Any,
) -> None:
    """Trains what is missing of the other arms, all levels as one population, in chunks."""
    tickets = {record.levels[0]: record for record in records if record.arms[0] == "ticket"}
    finished = {coordinate for record in records for coordinate in record.coordinates}
    missing = [c for c in _control_coordinates(run) if c not in finished]
    size = run.plan.control_chunk(run.replicates, _bytes(origin.rewound) // run.replicates)
    size = min(size, run.plan.padded(max(len(missing), run.replicates)))
    start_all = _over(populate(_control_start(run), run.plan), size)
    for first in range(0, len(missing), size):
        chosen = missing[first : first + size]
        networks = start_all(_gather(run, chosen, counts, origin, tickets))
        trained = fit(
            networks,
            size,
            start=run.rewind_step,
            on_segment=lambda steps, metrics, at=chosen[0]: tell(
                at.arm, at.level, steps, metrics
            ),
        )
        record = _record(chosen, trained, networks.masks)
        records.append(record)
        store.save(record)


def _prune_one(run: _Run) -> Callable[..., Any]:
    def one(network: tuple[Evidence, Any, Counts, Any]) -> Any:
        evidence, mask, kept, observed = network
        return prune(run.criterion, run.allocation, evidence, mask, kept, observed)

    return one


def _restart_one(run: _Run) -> Callable[..., Any]:
    def one(network: tuple[Any, Any]) -> Any:
        state, mask = network
        return run.learner.restart(state, state.params, mask, moments=run.rewind_moments)

    return one


def _control_start(run: _Run) -> Callable[[_Start], Networks]:
    """Makes the state, mask and key of one control network; the arm is chosen on the device."""
    branches = [_control_branch(run, ARMS[name]) for name in run.arms]

    def one(start: _Start) -> Networks:
        state, mask = jax.lax.switch(start.arm, branches, start)
        return Networks(state, mask, derive(start.key, "train", start.level))

    return one


def _control_branch(run: _Run, arm: Arm) -> Callable[[_Start], tuple[Any, Any]]:
    def mask_of(start: _Start) -> Any:
        if arm.mask == "shuffle":
            return masks.shuffle(derive(start.key, "shuffle", start.level), start.ticket_mask)
        if arm.mask == "oneshot":
            key = derive(start.key, "prune", start.level)
            evidence = Evidence(start.initial, start.dense, key)
            full = jax.tree.map(jnp.ones_like, start.ticket_mask)
            return prune(
                run.criterion, run.allocation, evidence, full, start.counts, start.observed
            )
        return start.ticket_mask

    def branch(start: _Start) -> tuple[Any, Any]:
        mask = mask_of(start)
        fresh = run.learner.init(derive(start.key, "reinit", start.level))
        own = arm.weights == "rewind"
        key = derive(start.key, "action", start.level)
        params = arm.action(key, start.rewound.params, fresh.params, mask)
        # Batch statistics of θ_k describe θ_k only: other weights start from those of a new
        # initialisation, and never from θ_k's moments.
        model_state = (start.rewound if own else fresh).model_state
        state = start.rewound._replace(model_state=model_state)
        moments = run.rewind_moments and own
        return run.learner.restart(state, params, mask, moments=moments), mask

    return branch


def _control_coordinates(run: _Run) -> Iterator[Coordinate]:
    for arm in run.arms[1:]:
        for level in range(1, run.levels):
            yield from (Coordinate(arm, level, replicate) for replicate in range(run.replicates))


def _gather(
    run: _Run,
    chosen: list[Coordinate],
    counts: tuple[Counts, ...],
    origin: Origin,
    tickets: dict[int, Record],
) -> _Start:
    """Collects along axis 0 what the chosen networks are made from."""
    rows = np.array([c.replicate for c in chosen])
    take = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
    ticket_masks = [
        jax.tree.map(lambda leaf, c=c: leaf[c.replicate], tickets[c.level].masks) for c in chosen
    ]
    return _Start(
        arm=np.array([run.arms.index(c.arm) for c in chosen], np.int32),
        level=np.array([c.level for c in chosen], np.int32),
        key=run.keys[rows],
        counts={
            path: np.array([counts[c.level][path] for c in chosen], np.int32)
            for path in counts[0]
        },
        ticket_mask=jax.tree.map(lambda *leaves: np.stack(leaves), *ticket_masks),
        initial=take(origin.initial),
        rewound=take(origin.rewound),
        dense=take(tickets[0].params),
        observed=take(tickets[0].observed),
    )


def _in_pieces(fit: Any, networks: Networks, size: int, **options: Any) -> Trained:
    """Trains a population that may be larger than what trains at a time."""
    number = networks.keys.shape[0]
    pieces = [
        fit(jax.tree.map(lambda leaf: leaf[i : i + size], networks), size, **options)  # noqa: B023
        for i in range(0, number, size)
    ]
    join = lambda *leaves: np.concatenate(leaves)  # noqa: E731
    return Trained(
        jax.tree.map(join, *(piece.training for piece in pieces)),
        pieces[0].steps,
        jax.tree.map(join, *(piece.curves for piece in pieces)),
        jax.tree.map(join, *(piece.snapshot for piece in pieces)),
    )


def _over(function: Callable[..., Any], size: int) -> Callable[[Any], Any]:
    """Runs a population in pieces of one padded size and brings the outputs to the host."""

    def run(networks: Any) -> Any:
        number = jax.tree.leaves(networks)[0].shape[0]
        outputs = []
        for first in range(0, number, size):
            piece = jax.tree.map(lambda leaf: leaf[first : first + size], networks)  # noqa: B023
            rows = jax.tree.leaves(piece)[0].shape[0]
            output = to_host(function(pad(piece, size)))
            outputs.append(jax.tree.map(lambda leaf: leaf[:rows], output))  # noqa: B023
        return jax.tree.map(_concatenate, *outputs)

    return run


def _concatenate(*leaves: Any) -> Any:
    if isinstance(leaves[0], np.ndarray):
        return np.concatenate(leaves)
    return jnp.concatenate(leaves)  # typed keys


def _record(coordinates: list[Coordinate], trained: Trained, mask: Any) -> Record:
    return Record(
        arms=tuple(c.arm for c in coordinates),
        levels=tuple(c.level for c in coordinates),
        replicates=tuple(c.replicate for c in coordinates),
        steps=trained.steps,
        curves=trained.curves,
        masks=mask,
        params=trained.training.learner.params,
        observed=trained.training.observed,
    )


def _template(run: _Run) -> Template:
    state = jax.eval_shape(run.learner.init, jax.eval_shape(lambda: jax.random.key(0)))
    mask = jax.eval_shape(lambda: masks.ones(state.params, run.prunable))
    return Template(state, mask, jax.eval_shape(run.criterion.init, state.params))


def _teller(run: _Run, records: list[Record], on_progress: Callable[[Progress], None]) -> Any:
    """Counts network-steps for the progress callback."""
    steps, later = run.protocol.steps, run.protocol.steps - run.rewind_step
    per_level = [steps, *[later] * (run.levels - 1)]
    total = run.replicates * (sum(per_level) + (len(run.arms) - 1) * sum(per_level[1:]))
    done = sum(per_level[level] for record in records for level in record.levels)

    def tell(arm: str, level: int, steps: int, metrics: dict[str, np.ndarray]) -> None:
        nonlocal done
        done += steps * next(iter(metrics.values())).shape[0]
        on_progress(Progress(arm, level, done, total, metrics))

    return tell


def _replicate_keys(key: PRNGKeyArray, replicates: int) -> jax.Array:
    return jax.vmap(lambda index: derive(key, "replicate", index))(jnp.arange(replicates))


def _level_keys(keys: jax.Array, purpose: str, level: int) -> jax.Array:
    return jax.vmap(lambda key: derive(key, purpose, level))(keys)


def _repeated(counts: Counts, number: int) -> Counts:
    return {path: np.full(number, kept, np.int32) for path, kept in counts.items()}


def _check_not_empty(mask: Any, level: int) -> None:
    """Refuses to go on with a layer that has no weight left (global allocation can do that)."""
    empty = [
        f"{masks.path_string(path)} of replicate {replicate}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(mask)
        for replicate in np.flatnonzero(~leaf.reshape(leaf.shape[0], -1).any(axis=1))
    ]
    if empty:
        raise MaskError(
            f"level {level} empties {', '.join(empty)}; ask for at most {level} levels, a lower "
            "prune rate or layerwise scope"
        )


def _bytes(tree: Any) -> int:
    return sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(tree))
