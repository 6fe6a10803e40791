"""The search for tickets, from the outside."""

import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket import masks
from jaxticket.allocate.base import Allocation
from jaxticket.arms import ARMS, DEFAULT_ARMS, check_arms
from jaxticket.costs import Ledger
from jaxticket.criteria import magnitude
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.imp.arguments import check_kinds
from jaxticket.imp.controls import train_controls
from jaxticket.imp.examples import check_data
from jaxticket.imp.groups import grouped, groups
from jaxticket.imp.kept import check_kept
from jaxticket.imp.lineages import Lineages, make_lineages
from jaxticket.imp.monitor import monitor
from jaxticket.imp.programs import make_programs
from jaxticket.imp.progress import Progress, count_networks, make_teller
from jaxticket.imp.repelling import repelling
from jaxticket.imp.scoring import Scoring, draw_scoring
from jaxticket.imp.setup import Setup
from jaxticket.imp.suited import check_suited
from jaxticket.imp.tickets import train_tickets
from jaxticket.imp.variants import (
    Pruning,
    Retraining,
    Variant,
    given,
    given_again,
    same_hyperparameters,
)
from jaxticket.keys import replicate_keys
from jaxticket.learners.base import Learner
from jaxticket.learners.family import Family, as_family
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.population import Plan
from jaxticket.protocol import Protocol
from jaxticket.records import Memory, Store
from jaxticket.result import Result
from jaxticket.rewind import Action, rewind
from jaxticket.trainer import Trainer, trainer
from jaxticket.types import Batch, Data, Mask


def find_tickets(
    learner: Learner | Family,
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
    retraining: Retraining = "weights",
    pruning: Pruning = "iterative",
    scoring: Scoring = Scoring(),  # noqa: B008
    action: Action = rewind,
    repulsion: float = 0.0,
    empty_layers: bool = False,
    variants: Mapping[str, Variant] | None = None,
    plan: Plan | None = None,
    together: int | None = None,
    streaming: bool | None = None,
    store: Store | None = None,
    ledger: Ledger | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    keep_every: float = 60.0,
) -> Result:
    """Finds winning tickets by iterative pruning and trains their controls.

    Level 0 trains the dense network f(x; θ_0). Level n + 1 prunes what level n trained, goes
    back to θ_k and trains again: m_{n+1} = prune(m_n, θ_T), then Train(m_{n+1} ⊙ θ_k). The
    replicates of a level train together; then every other arm at every level trains, all as
    one population. Network r of an arm shares with network r of every other arm its
    initialisation and, at the same level, its data order.

    A sweep is several searches as one population: `variants` says by name what each of them
    does in its own way, and network r of a variant shares with network r of every other one its
    key. Variants with the same hyperparameters share their dense networks.

    Args:
      learner: how a network is trained; in a sweep over hyperparameters a function from them,
        numbers that may be traced, to the learner.
      data: the splits by name; `train` is trained on, arrays or a `Stream`; the others are
        evaluated, and always on the device.
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
      retraining: how a pruned network is trained again; see `Retraining`.
      pruning: what the mask of a level is made from; see `Pruning`.
      scoring: which training examples a criterion that needs data is given.
      action: what is made of the weights that the ticket is trained again from: an action in the
        manner of `jaxticket.rewind`, such as `jaxticket.isometry.orthogonalized`. The controls
        have their own.
      repulsion: λ_r, how strongly the ticket is repelled at every level from what it was trained
        to at all levels before, in the way of `jaxticket.learners.repulsion`; below 0 attracts.
        The dense network and the controls have no such term. A population then holds
        `levels - 1` copies of the params beside each network that trains.
      empty_layers: whether a layer may lose its last weight; refused if not.
      variants: a sweep.
      plan: how populations run; `Plan.auto` for all networks of the arms if `None`.
      together: how many replicates are searched at a time, one group after the other, which changes
        results no more than `plan` does; `None` for what
        `jaxticket.imp.groups.replicates_together` says.
      streaming: whether the host feeds the training split to the device, which changes no result;
        `None` decides by its size, as `jaxticket.trainer.placement.place` says.
      store: keeps what is finished and gives it back in the next call; nothing if `None`. It is
        for one search: names, steps and initial weights are compared with what it holds, which
        does not tell one optimizer or criterion from another.
      ledger: counts seconds, steps and networks, for `jaxticket.costs.account`.
      on_progress: called at every evaluation, and every few seconds in between.
      keep_every: seconds of training after which the store is given what is partway.

    Returns:
      Masks, trained params and curves of every arm, level and replicate.

    Raises:
      TicketError: for sizes that are not positive, data without the split train, an unknown arm,
        a rewind step past the end, a variant that cannot run, a criterion that would lack what it
        reads, several levels of a learner whose own mask changes; at a level, for scores that are
        not finite.
      MaskError: for a schedule that would empty a layer.
      ContractError: if a trained network breaks one of contracts 1 to 4 of
        `docs/architecture.md`, with the leaf; its level or chunk is not kept.

    Example:
      See `notebooks/01_winning_ticket.ipynb`.

    Source: 1803.03635, section 1, strategy 1; 1912.05671, section 2, for k > 0; 2003.02389,
    section 2, for the other ways of retraining.
    """
    check_kinds(locals())  # What was given, since nothing else has a name yet.
    if replicates < 1:
        raise TicketError(f"replicates: got {replicates}, expected at least 1")
    if together is not None and together < 1:
        raise TicketError(f"together: got {together} replicates, expected at least 1")
    if variants is not None and not variants:
        raise TicketError("variants: got none, expected at least one, or None without a sweep")
    default = Variant(
        allocation=allocation,
        criterion=criterion or magnitude(),
        rewind_step=rewind_step,
        rewind_moments=rewind_moments,
        retraining=retraining,
        pruning=pruning,
        scoring=scoring,
        action=action,
        repulsion=repulsion,
    )
    chosen = variants or {"": Variant()}
    family, keys = as_family(learner), replicate_keys(key, replicates)
    _check_swept(learner, chosen)
    made = _first_learner(family, chosen, check_arms(arms))
    check_data(data, made)
    dense = _dense_mask(made, keys[0], prunable)
    lineages = make_lineages(
        chosen, default, keys, dense, levels, protocol, empty_layers=empty_layers
    )
    check_suited(made, lineages, levels, protocol)
    setup = Setup(
        family=family,
        lineages=lineages,
        protocol=protocol,
        prunable=prunable,
        arms=check_arms(arms),
        levels=levels,
        replicates=replicates,
        plan=plan or Plan.auto(len(chosen) * replicates * len(check_arms(arms))),
        ledger=ledger or Ledger(),
        empty_layers=empty_layers,
        together=together,
    )
    train = functools.partial(
        trainer, data=data, plan=setup.plan, streaming=streaming, keep_every=keep_every
    )
    draw = functools.partial(_draw_all, data)
    given = store or Memory(), on_progress or (lambda progress: None)
    return _search(setup, dense, draw, train, *given)


def _search(
    setup: Setup,
    dense: Mask,
    draw: Callable[[Lineages], Batch],
    make_trainer: Callable[..., Trainer],
    store: Store,
    on_progress: Callable[[Progress], None],
) -> Result:
    """Trains what the store lacks, group by group: the ticket's levels, then all controls."""
    with setup.ledger.phase("checkpoint"):
        kept, records = store.load(setup.template())
    setup = grouped(setup, kept)
    programs = make_programs(setup)
    check_kept(setup, programs.init, kept, records)
    resumed = count_networks(setup, records)
    train = make_trainer(
        repelling(setup.family),
        setup.criterion,
        setup.protocol,
        ledger=setup.ledger,
        keeper=store.partway,
    )
    tell, check = make_teller(setup, records, on_progress), monitor(setup)
    origins = []
    for group, begun in groups(setup, kept):
        own = group._replace(scoring=draw(group.lineages))
        origin = train_tickets(own, programs, train, dense, begun, records, store, tell, check)
        train_controls(own, programs, train, origin, records, store, tell, check)
        origins.append(origin)
    setup.ledger.networks += count_networks(setup, records) - resumed
    schedules, size = setup.lineages.schedules, sum(masks.sizes(dense).values())
    return Result(setup.arms, setup.levels, setup.replicates, schedules, size, origins, records)


def _check_swept(learner: Learner | Family, chosen: Mapping[str, Variant]) -> None:
    """Refuses hyperparameters that would change nothing, and a family that is given none."""
    swept = [name for name, variant in chosen.items() if variant.hyperparameters is not None]
    if swept and isinstance(learner, Learner):
        raise TicketError(
            f"variants: got hyperparameters of {swept[0]!r} with a learner that is made already, "
            "which would ignore them; give a function from hyperparameters to a Learner"
        )
    if not swept and not isinstance(learner, Learner):
        raise TicketError(
            "learner: got a function from hyperparameters, and none to give it; call it, or give "
            "variants with hyperparameters"
        )


def _first_learner(family: Family, chosen: Mapping[str, Variant], arms: tuple[str, ...]) -> Learner:
    """Makes the learners of all variants, to see that it can be done, and gives the first."""
    same_hyperparameters(chosen)
    # Each one is called with its own numbers, which it may refuse: later ones are traced.
    made = [family(make(variant)) for make in (given, given_again) for variant in chosen.values()]
    holding = [arm for arm in arms if ARMS[arm].pruned != "zero"]
    if holding and made[0].hold is None:
        raise TicketError(
            f"arms: got {', '.join(holding)}, expected arms that prune to zero: this learner has "
            "no function hold"
        )
    return made[0]


def _dense_mask(learner: Learner, key: PRNGKeyArray, prunable: Prunable) -> Mask:
    """Makes the mask that keeps everything, on the host; only shapes are computed for it."""
    params = jax.eval_shape(learner.init, key).params
    shapes = jax.eval_shape(lambda: masks.ones(params, prunable))
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), shapes)


def _draw_all(data: Data, lineages: Lineages) -> Batch:
    """Draws the scoring examples of all lineages, `[L, n, ...]`; `None` if no criterion needs any.

    Lineages that need none are given another variant's.
    """
    wanted = [scoring for scoring in lineages.scorings if scoring is not None]
    if not wanted:
        return None
    keys = lineages.keys[: lineages.replicates]
    drawn = {scoring: draw_scoring(scoring, data["train"], keys) for scoring in wanted}
    each = [drawn[scoring or wanted[0]] for scoring in lineages.scorings]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *each)
