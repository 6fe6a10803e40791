"""A sweep laid out as one population: a lineage for each variant and replicate."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.allocate.base import Counts
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.imp.checking import check_variants
from jaxticket.imp.scoring import Scoring
from jaxticket.imp.variants import (
    Variant,
    given,
    given_again,
    make_schedules,
    same_hyperparameters,
    whole,
)
from jaxticket.protocol import Protocol
from jaxticket.rewind import Action
from jaxticket.types import Mask


class Lineages(NamedTuple):
    """All searches of a sweep, a lineage for each variant and replicate, L = V · R of them.

    Lineage v · R + r is replicate r of variant v. Variants that share their hyperparameters
    share their dense networks, which are trained once, D of them.

    Attributes:
      names: the variants, `("",)` without a sweep.
      replicates: R.
      first: the number of the first replicate, 0 but in a group of those of a search.
      keys: each replicate's key, `[L]`: the same for all variants, so that they are paired.
      hyperparameters: `float[L]` or `int[L]` leaves, `()` without.
      retraining_hyperparameters: those of levels 1 and up, likewise.
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
    first: int
    keys: jax.Array
    hyperparameters: Any
    retraining_hyperparameters: Any
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
        return self.names.index(variant) * self.replicates + replicate - self.first

    def name(self, index: int) -> tuple[str, int]:
        """Gives the variant and the replicate of a lineage."""
        variant, replicate = divmod(index, self.replicates)
        return self.names[variant], self.first + replicate

    def counts(self, level: int) -> Counts:
        """Gives what all lineages keep at a level: `int32[L]` by path, 0 where not asked for."""
        mine = [self.schedules[self.name(index)[0]][level] for index in range(self.number)]
        paths = dict.fromkeys(path for counts in mine for path in counts)
        return {path: np.array([c.get(path, 0) for c in mine], np.int32) for path in paths}

    def only(self, replicates: range) -> "Lineages":
        """Gives the lineages of some replicates in a row, as if there were no others."""
        number, before = len(replicates), self.replicates
        places = np.arange(number) + replicates.start - self.first
        rows = lambda groups: (np.arange(groups)[:, None] * before + places).ravel()  # noqa: E731
        moved = lambda among: among // before * number + among % before - places[0]  # noqa: E731
        mine = rows(len(self.names))
        by_lineage = {
            name: jax.tree.map(lambda leaf: leaf[mine], getattr(self, name)) for name in _BY_LINEAGE
        }
        return self._replace(
            replicates=number,
            first=replicates.start,
            dense=moved(self.dense[mine]),
            dense_lineages=moved(self.dense_lineages[rows(len(self.dense_lineages) // before)]),
            **by_lineage,
        )


_BY_LINEAGE = (
    "keys",
    "hyperparameters",
    "retraining_hyperparameters",
    "pruner",
    "begins",
    "moments",
    "keeps_weights",
    "keeps_rate",
    "oneshot",
    "at_start",
    "action",
    "repulsion",
)
"""What has a row for each lineage, and is not counted among the dense networks."""


def make_lineages(
    variants: Mapping[str, Variant],
    default: Variant,
    keys: jax.Array,
    dense: Mask,
    levels: int,
    protocol: Protocol,
    *,
    empty_layers: bool,
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
        for allocation in [whole(variant.allocation)]
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
        first=0,
        keys=keys[np.tile(places, len(chosen))],
        hyperparameters=_stacked(map(given, chosen.values()), replicates),
        retraining_hyperparameters=_stacked(map(given_again, chosen.values()), replicates),
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


def _scorings(chosen: Mapping[str, Variant]) -> tuple[Scoring | None, ...]:
    needed = ["examples" in whole(variant.criterion).reads for variant in chosen.values()]
    pairs = zip(needed, chosen.values(), strict=True)
    scorings = tuple(variant.scoring if needs else None for needs, variant in pairs)
    numbers = {scoring.number for scoring in scorings if scoring is not None}
    if len(numbers) > 1:
        raise TicketError(
            f"variants: got scoring with {sorted(numbers)} examples, expected the same number in "
            "all variants whose criterion needs data"
        )
    return scorings


def _stacked(hyperparameters: Iterable[Any], replicates: int) -> Any:
    def stack(*values: Any) -> np.ndarray:
        together = np.array(values)
        kind = np.int32 if together.dtype.kind in "iu" else np.float32
        return np.repeat(together.astype(kind), replicates)

    return jax.tree.map(stack, *hyperparameters)


def _distinct(things: Any) -> tuple[Any, ...]:
    found: list[Any] = []
    for thing in things:
        if thing not in found:
            found.append(thing)
    return tuple(found)


def _place(things: tuple[Any, ...], thing: Any) -> int:
    return things.index(thing)
