"""What can be chosen: tasks, optimizers and transfers."""

import dataclasses
from typing import get_args

from experiments.common import sweeps
from experiments.common.configuration import NOT_SCIENCE, Reading, published
from experiments.universality.tasks import FIRST, paths_of
from jaxticket.errors import TicketError, unknown
from jaxticket.recipes import OPTIMIZERS, Step
from jaxticket.transfer import check_arms
from jaxticket.transfer.carrying import OutputMask


@dataclasses.dataclass(frozen=True)
class Config(Reading):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 6
    """Levels, the dense one included."""
    scope: str = "global"
    """Where weights compete: global, so that the shares of layers can change."""
    prune_rate: float = 0.45
    """Share of the remaining weights that goes at each level."""
    steps: Step = Step.iterations(400)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(100)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    arms: tuple[str, ...] = ("ticket",)
    """Names from jaxticket.arms, of the native networks; the ticket is always trained."""
    tasks: tuple[str, ...] = ("whole", "lower", "upper", "permuted", "digits")
    """Tasks: whole, lower, upper (classes) or permuted (pixels) of the data set, or the names of
    other data sets, which are resized, and cut to as many examples where they have more."""
    optional_tasks: tuple[str, ...] = dataclasses.field(default=("mnist",), metadata=NOT_SCIENCE)
    """Other data sets that are added to the tasks if they are on this machine."""
    other_optimizers: tuple[str, ...] = ("momentum",)
    """Optimizers besides --optimizer, on the whole data set."""
    other_learning_rate: float = 0.05
    """Their learning rate."""
    transfer_level: int = 5
    """Level of the tickets that are transferred."""
    transfer_arms: tuple[str, ...] = ("ticket", "reinit", "shuffle", "shuffle_reinit")
    """What is trained on the targets: the ticket and its controls."""
    renewed_mask: str = "source"
    """Mask of the output layer, whose weights are new: source, or dense."""
    variant: str = ""
    """Of a run of one data set that holds several searches, the name of the one whose tickets are
    read; the first if empty."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        width=0.1,
        replicates=2,
        levels=3,
        steps=Step.iterations(20),
        evaluate_every=Step.iterations(20),
        tasks=("whole", "lower", "permuted"),
        optional_tasks=(),
        transfer_level=2,
        transfer_arms=("ticket", "shuffle_reinit"),
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"),
        dataset="fashion_mnist",
        scope="global",
        tasks=("whole", "lower", "upper", "permuted", "mnist"),
        optional_tasks=(),
        transfer_level=13,
    ),
}


def check(config: Config) -> None:
    """Refuses tasks, optimizers and transfers that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--tasks", config.tasks)
    wanted = (*config.tasks, *config.optional_tasks)
    strange = [name for name in paths_of(config) if name not in wanted]
    if strange and config.run is None:
        raise TicketError(
            f"--task-paths: got a folder of {strange[0]}, expected one of a task "
            f"({', '.join(wanted)})"
        )
    if config.variant and config.run is None:
        raise TicketError(
            f"--variant {config.variant}: is a search of a finished run; name that run by --run"
        )
    if config.rewind_moments:
        raise TicketError(
            "--rewind-moments: a ticket that is carried takes no moments along, expected "
            "--no-rewind-moments"
        )
    sweeps.check_some("--transfer-arms", config.transfer_arms)
    check_arms(config.transfer_arms)
    sweeps.check_known("optimizer", config.other_optimizers, tuple(OPTIMIZERS))
    if len({config.optimizer, *config.other_optimizers}) <= len(config.other_optimizers):
        raise TicketError(
            f"--other-optimizers: got {' '.join(config.other_optimizers)}, expected different ones "
            f"besides {config.optimizer}"
        )
    if config.other_optimizers and FIRST not in config.tasks and config.run is None:
        raise TicketError(
            f"--tasks: got no {FIRST}, expected it: optimizers are compared on it; or give no "
            "--other-optimizers"
        )
    if "ticket" not in config.transfer_arms:
        raise TicketError("--transfer-arms: got no ticket, expected it with its controls")
    if config.renewed_mask not in get_args(OutputMask):
        raise unknown("renewed mask", config.renewed_mask, get_args(OutputMask))
    if config.scope != "global" and config.run is None:
        raise TicketError(
            f"--scope {config.scope}: the layers' shares hardly flow under it, expected global"
        )
    if not 1 <= config.transfer_level < config.levels:
        raise TicketError(
            f"--transfer-level: got {config.transfer_level}, expected 1 to {config.levels - 1}, "
            f"a pruned one of the {config.levels} levels"
        )
