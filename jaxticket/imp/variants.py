"""Sweeps: what differs between searches that run as one population."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np

from jaxticket.allocate.base import Allocation, Counts
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError, unknown
from jaxticket.imp.scoring import Scoring, check_scoring
from jaxticket.protocol import Protocol
from jaxticket.prune import schedule
from jaxticket.rewind import Action, rewind
from jaxticket.types import Mask

Retraining = Literal["weights", "learning_rate", "fine_tuning"]
"""How a pruned network is trained again, from step k of T on:

- `weights`: weights and learning rate go back to step k (weight rewinding; IMP for k = 0);
- `learning_rate`: the trained weights stay, the learning rate goes back to step k;
- `fine_tuning`: the trained weights stay, and schedules go on from step T: use one that is flat
  there, such as steps that drop, and not one that ends at zero.
"""

Pruning = Literal["iterative", "oneshot", "at_start"]
"""What the mask of a level is made from:

- `iterative`: from the mask and the trained weights of the level before (iterative pruning);
- `oneshot`: from the dense mask and the trained dense weights, to each level's density at once;
- `at_start`: from the dense mask and the weights at the rewind step k, before any training from
  there on: pruning at initialisation for k = 0. Levels are then not nested unless the scores are
  the same at all of them.
"""


@dataclasses.dataclass(frozen=True)
class Variant:
    """What one search of a sweep does in its own way; `None` is what `find_tickets` was told.

    Attributes:
      hyperparameters: what the learner's factory is given: a pytree of numbers, of one structure
        in all variants.
      allocation: how many weights go at each level, and from where.
      criterion: what a weight is worth.
      rewind_step: the step k of the training that pruned networks repeat.
      rewind_moments: whether a rewound ticket also takes the optimizer's moments at k.
      retraining: how a pruned network is trained again.
      pruning: what the mask of a level is made from.
      scoring: which examples a criterion that needs data is given; as many in all variants.
      action: what is made of the weights that a pruned network is trained again from, which
        `retraining` says; any action in the manner of `jaxticket.rewind`.
      repulsion: λ_r, how strongly a pruned network is repelled from all that its lineage trained
        at the levels before, as `jaxticket.learners.repulsion` says; below 0 attracts.

    Example:
      >>> Variant(hyperparameters={"learning_rate": 0.1}).rewind_step is None
      True

    Source: the three ways of retraining are those of 2003.02389, section 2.
    """

    hyperparameters: Any = None
    allocation: Allocation | None = None
    criterion: Criterion | None = None
    rewind_step: int | None = None
    rewind_moments: bool | None = None
    retraining: Retraining | None = None
    pruning: Pruning | None = None
    scoring: Scoring | None = None
    action: Action | None = None
    repulsion: float | None = None

    def over(self, default: "Variant") -> "Variant":
        """Fills what is `None` from another variant.

        Args:
          default: what the call was told.

        Returns:
          The variant without a `None`, unless the default has one.
        """
        own = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(default, **own)


DEFAULT = Variant(
    rewind_step=0,
    rewind_moments=False,
    retraining="weights",
    pruning="iterative",
    scoring=Scoring(),
    action=rewind,
    repulsion=0.0,
)
"""What a search does if it is told nothing, but for its allocation and its criterion."""


class Lineages(NamedTuple):
    """All searches of a sweep, a lineage for each variant and replicate, L = V · R of them.

    Lineage v · R + r is replicate r of variant v. Variants that share their hyperparameters
    share their dense networks, which are trained once, D of them.

    Attributes:
      names: the variants, `("",)` without a sweep.
      replicates: R.
      keys: each replicate's key, `[L]`: the same for all variants, so that they are paired.
      hyperparameters: `float[L]` or `int[L]` leaves, `()` without.
      criteria: those that differ.
      pruners: an index into `criteria`, and an allocation without its schedule, each.
      pruner: `int32[L]`, the index of each lineage's pruner.
      schedules: by variant, what each level keeps.
      begins: `int32[L]`, the step k.
      moments: `bool[L]`, whether moments are rewound too.
      keeps_weights: `bool[L]`, whether the trained weights stay.
      keeps_rate: `bool[L]`, whether schedules go on from their end.
      oneshot: `bool[L]`, whether masks are made from the trained dense network.
      at_start: `bool[L]`, whether masks are made before training.
      scorings: by variant, which examples its criterion is given; `None` where it needs none.
      actions: those that differ.
      action: `int32[L]`, the index of each lineage's action.
      repulsion: `float32[L]`, the λ_r of each lineage.
      dense: `int64[L]`, the dense network that each lineage begins with.
      dense_lineages: `int64[D]`, the first lineage of each dense network.
    """

    names: tuple[str, ...]
    replicates: int
    keys: jax.Array
    hyperparameters: Any
    criteria: tuple[Criterion, ...]
    pruners: tuple[tuple[int, Any, Any, bool], ...]
    pruner: np.ndarray
    schedules: dict[str, tuple[Counts, ...]]
    begins: np.ndarray
    moments: np.ndarray
    keeps_weights: np.ndarray
    keeps_rate: np.ndarray
    oneshot: np.ndarray
    at_start: np.ndarray
    scorings: tuple[Scoring | None, ...]
    actions: tuple[Action, ...]
    action: np.ndarray
    repulsion: np.ndarray
    dense: np.ndarray
    dense_lineages: np.ndarray

    @property
    def number(self) -> int:
        """L."""
        return len(self.begins)

    def place(self, variant: str, replicate: int) -> int:
        """Gives the place of a lineage."""
        return self.names.index(variant) * self.replicates + replicate

    def name(self, index: int) -> tuple[str, int]:
        """Gives the variant and the replicate of a lineage."""
        variant, replicate = divmod(index, self.replicates)
        return self.names[variant], replicate

    def counts(self, level: int) -> Counts:
        """Gives what all lineages keep at a level: `int32[L]` by path, 0 where not asked for."""
        mine = [self.schedules[self.name(index)[0]][level] for index in range(self.number)]
        paths = dict.fromkeys(path for counts in mine for path in counts)
        return {path: np.array([c.get(path, 0) for c in mine], np.int32) for path in paths}


def make_lineages(
    variants: Mapping[str, Variant],
    default: Variant,
    keys: jax.Array,
    dense: Mask,
    levels: int,
    protocol: Protocol,
    *,
    empty_layers: bool = False,
) -> Lineages:
    """Checks a sweep and lays it out as one population.

    Args:
      variants: by name; without a sweep one of the name `""`.
      default: what is filled in, without a `None` but for hyperparameters.
      keys: the replicates' keys.
      dense: the dense mask, concrete.
      levels: number of levels.
      protocol: says where training ends.
      empty_layers: whether a layer may lose its last weight.

    Returns:
      The lineages.

    Raises:
      TicketError: for a variant that cannot run, by name.
      MaskError: for a schedule that would empty a layer.
    """
    chosen = check_variants(variants, default, protocol)
    criteria = _distinct(variant.criterion for variant in chosen.values())
    each_pruner = [
        (_place(criteria, variant.criterion), *allocation[1:])
        for variant in chosen.values()
        for allocation in [_required(variant.allocation)]
    ]
    pruners = _distinct(each_pruner)
    actions = _distinct(variant.action for variant in chosen.values())
    replicates = keys.shape[0]
    each = lambda values, dtype: np.repeat(np.array(list(values), dtype), replicates)  # noqa: E731
    groups = same_hyperparameters(chosen)
    roots = _distinct(groups)
    dense_of = np.array([_place(roots, group) for group in groups])
    places = np.arange(replicates)
    return Lineages(
        names=tuple(chosen),
        replicates=replicates,
        keys=keys[np.tile(places, len(chosen))],
        hyperparameters=_stacked(chosen, replicates),
        criteria=criteria,
        pruners=pruners,
        pruner=each([_place(pruners, pruner) for pruner in each_pruner], np.int32),
        schedules=make_schedules(chosen, dense, levels, empty_layers=empty_layers),
        begins=each([variant.rewind_step for variant in chosen.values()], np.int32),
        moments=each([variant.rewind_moments for variant in chosen.values()], bool),
        keeps_weights=each([v.retraining != "weights" for v in chosen.values()], bool),
        keeps_rate=each([v.retraining == "fine_tuning" for v in chosen.values()], bool),
        oneshot=each([v.pruning == "oneshot" for v in chosen.values()], bool),
        at_start=each([v.pruning == "at_start" for v in chosen.values()], bool),
        scorings=_scorings(chosen),
        actions=actions,
        action=each([_place(actions, variant.action) for variant in chosen.values()], np.int32),
        repulsion=each([variant.repulsion for variant in chosen.values()], np.float32),
        dense=(dense_of[:, None] * replicates + places).ravel(),
        dense_lineages=(np.array(roots)[:, None] * replicates + places).ravel(),
    )


def check_variants(
    variants: Mapping[str, Variant], default: Variant, protocol: Protocol
) -> dict[str, Variant]:
    """Fills in what variants leave open, and checks what can be checked before anything runs.

    Args:
      variants: by name; without a sweep one of the name `""`.
      default: what is filled in.
      protocol: says where training ends.

    Returns:
      The variants, whole.

    Raises:
      TicketError: for a variant that cannot run, by name.

    Example:
      >>> check_variants({"late": Variant(rewind_step=9)}, DEFAULT, Protocol(9, 1, 3))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: variant 'late': rewind step: got 9, expected 0 to 8, before \
the end of training at step 9
    """
    chosen = {name: variant.over(default) for name, variant in variants.items()}
    for name, variant in chosen.items():
        _check(name, variant, protocol)
    return chosen


def make_schedules(
    chosen: Mapping[str, Variant], dense: Mask, levels: int, *, empty_layers: bool = False
) -> dict[str, tuple[Counts, ...]]:
    """Lists what every level of every variant keeps.

    Args:
      chosen: whole variants, from `check_variants`.
      dense: the dense mask.
      levels: number of levels.
      empty_layers: whether a layer may lose its last weight.

    Returns:
      Integer counts a level, by variant.

    Raises:
      MaskError: for a schedule that would empty a layer, by name.
    """
    made = {}
    for name, variant in chosen.items():
        try:
            allocation = _required(variant.allocation)
            made[name] = schedule(allocation, dense, levels, empty_layers=empty_layers)
        except TicketError as error:
            raise type(error)(f"variant {name!r}: {error}" if name else str(error)) from None
    return made


def given(variant: Variant) -> Any:
    """Gives what a variant's learner is made from; `()` where nothing is swept."""
    return () if variant.hyperparameters is None else variant.hyperparameters


def _check(name: str, variant: Variant, protocol: Protocol) -> None:
    if variant.retraining not in get_args(Retraining):
        what = f"retraining of variant {name!r}" if name else "retraining"
        raise unknown(what, str(variant.retraining), get_args(Retraining))
    if variant.pruning not in get_args(Pruning):
        what = f"pruning of variant {name!r}" if name else "pruning"
        raise unknown(what, str(variant.pruning), get_args(Pruning))
    if variant.pruning != "iterative" and variant.retraining != "weights":
        raise TicketError(
            f"variant {name!r}: got pruning {variant.pruning!r} with retraining "
            f"{variant.retraining!r}, expected 'weights': the others go on from the weights of the "
            "level before, which such a mask was not made from"
        )
    check_scoring(_required(variant.scoring), f"scoring of variant {name!r}" if name else "scoring")
    if not np.isfinite(_required(variant.repulsion)):
        raise TicketError(
            f"{f'repulsion of variant {name!r}' if name else 'repulsion'}: got "
            f"{variant.repulsion}, expected a finite number: above 0 repels, below 0 attracts"
        )
    if variant.rewind_moments and variant.retraining != "weights":
        raise TicketError(
            f"variant {name!r}: got rewind_moments with retraining {variant.retraining!r}, "
            "expected it with 'weights' only: moments at step k belong to the weights at step k"
        )
    if variant.rewind_moments and variant.action is not rewind:
        raise TicketError(
            f"variant {name!r}: got rewind_moments with an action that changes the weights, "
            "expected rewind.rewind: moments at step k belong to the weights at step k"
        )
    try:
        protocol.boundaries(_required(variant.rewind_step))
    except TicketError as error:
        raise TicketError(f"variant {name!r}: {error}" if name else str(error)) from None


def same_hyperparameters(chosen: Mapping[str, Variant]) -> list[int]:
    """Finds for each variant the first one with the same hyperparameters.

    Args:
      chosen: the variants.

    Returns:
      Places among the variants.

    Raises:
      TicketError: if they are not of one structure.

    Example:
      >>> same_hyperparameters({"a": Variant(0.1), "b": Variant(0.2), "c": Variant(0.1)})
      [0, 1, 0]
    """
    described = [
        (jax.tree.structure(v.hyperparameters), *map(float, jax.tree.leaves(v.hyperparameters)))
        for v in chosen.values()
    ]
    structures = {structure for structure, *_ in described}
    if len(structures) > 1:
        raise TicketError(
            f"variants: got hyperparameters of {len(structures)} structures, expected one; give "
            f"every variant all that is swept: {', '.join(map(str, structures))}"
        )
    return [described.index(one) for one in described]


def _scorings(chosen: Mapping[str, Variant]) -> tuple[Scoring | None, ...]:
    needed = ["examples" in _required(variant.criterion).reads for variant in chosen.values()]
    pairs = zip(needed, chosen.values(), strict=True)
    scorings = tuple(variant.scoring if needs else None for needs, variant in pairs)
    numbers = {scoring.number for scoring in scorings if scoring is not None}
    if len(numbers) > 1:
        raise TicketError(
            f"variants: got scoring with {sorted(numbers)} examples, expected the same number in "
            "all variants whose criterion needs data"
        )
    return scorings


def _stacked(chosen: Mapping[str, Variant], replicates: int) -> Any:
    def stack(*values: Any) -> np.ndarray:
        together = np.array(values)
        kind = np.int32 if together.dtype.kind in "iu" else np.float32
        return np.repeat(together.astype(kind), replicates)

    trees = [variant.hyperparameters for variant in chosen.values()]
    return () if trees[0] is None else jax.tree.map(stack, *trees)


def _distinct(things: Any) -> tuple[Any, ...]:
    found: list[Any] = []
    for thing in things:
        if thing not in found:
            found.append(thing)
    return tuple(found)


def _place(things: tuple[Any, ...], thing: Any) -> int:
    return things.index(thing)


def _required(value: Any) -> Any:
    assert value is not None, "find_tickets fills it in"
    return value
