"""The search for tickets, from the outside."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket import masks
from jaxticket.allocate.base import Allocation
from jaxticket.arms import DEFAULT_ARMS, check_arms
from jaxticket.costs import Ledger
from jaxticket.criteria import magnitude
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.imp.controls import train_controls
from jaxticket.imp.setup import Setup, replicate_keys
from jaxticket.imp.tickets import train_tickets
from jaxticket.learners.base import Learner
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.population import Plan
from jaxticket.protocol import Protocol
from jaxticket.prune import schedule
from jaxticket.records import Memory, Record, Result, Store
from jaxticket.trainer import trainer
from jaxticket.types import Data


class Progress(NamedTuple):
    """What is told at every evaluation.

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
    streaming: bool | None = None,
    store: Store | None = None,
    ledger: Ledger | None = None,
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
      plan: how populations run; `Plan.auto` for all networks of the arms if `None`.
      streaming: whether the host feeds the training split to the device, which changes no result;
        `None` decides by its size, as `jaxticket.trainer.placement.place` says.
      store: keeps what is finished and gives it back in the next call; nothing if `None`.
      ledger: counts seconds, steps and networks, for `jaxticket.costs.account`.
      on_progress: called at every evaluation.

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
    setup = Setup(
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
        plan=plan or Plan.auto(replicates * len(check_arms(arms))),
        ledger=ledger or Ledger(),
        keys=replicate_keys(key, replicates),
    )
    template = setup.template()
    dense = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), template.mask)
    counts = schedule(allocation, dense, levels)
    store = store or Memory()
    with setup.ledger.phase("checkpoint"):
        origin, records = store.load(template)
    resumed = sum(len(record.arms) for record in records)
    train = trainer(
        learner,
        setup.criterion,
        protocol,
        data,
        setup.plan,
        streaming=streaming,
        ledger=setup.ledger,
    )
    tell = _teller(setup, records, on_progress or (lambda progress: None))

    origin = train_tickets(setup, train, dense, counts, origin, records, store, tell)
    train_controls(setup, train, counts, origin, records, store, tell)
    setup.ledger.networks += sum(len(record.arms) for record in records) - resumed
    size = sum(masks.sizes(dense).values())
    return Result(setup.arms, levels, replicates, counts, size, origin, records)


Teller = Callable[[str, int, int, dict[str, np.ndarray]], None]


def _teller(setup: Setup, records: list[Record], on_progress: Callable[[Progress], None]) -> Teller:
    """Counts network-steps for the progress callback."""
    whole, rewound = setup.protocol.steps, setup.protocol.steps - setup.rewind_step
    per_level = [whole, *[rewound] * (setup.levels - 1)]
    controls = (len(setup.arms) - 1) * sum(per_level[1:])
    total = setup.replicates * (sum(per_level) + controls)
    done = sum(per_level[level] for record in records for level in record.levels)

    def tell(arm: str, level: int, steps: int, metrics: dict[str, np.ndarray]) -> None:
        nonlocal done
        done += steps * next(iter(metrics.values())).shape[0]
        on_progress(Progress(arm, level, done, total, metrics))

    return tell
