"""Sweeps: what differs between searches that run as one population."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax

from jaxticket.allocate.base import Allocation, Counts
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.imp.scoring import Scoring
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
      retraining_hyperparameters: what the learner's factory is given instead for all that is
        trained from level 1 on, in the same structure: another learning rate, say, or no warm-up.
        The dense networks, and the loss that criteria read, are of `hyperparameters`.

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
    retraining_hyperparameters: Any = None

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


def make_schedules(
    chosen: Mapping[str, Variant], dense: Mask, levels: int, *, empty_layers: bool
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
            allocation = whole(variant.allocation)
            made[name] = schedule(allocation, dense, levels, empty_layers=empty_layers)
        except TicketError as error:
            raise type(error)(f"variant {name!r}: {error}" if name else str(error)) from None
    return made


def given(variant: Variant) -> Any:
    """Gives what a variant's learner is made from; `()` where nothing is swept."""
    return () if variant.hyperparameters is None else variant.hyperparameters


def given_again(variant: Variant) -> Any:
    """Gives what the learner of a variant's levels from 1 on is made from.

    Args:
      variant: of a sweep.

    Returns:
      Its `retraining_hyperparameters`, or what its dense networks are given.

    Example:
      >>> given_again(Variant({"learning_rate": 0.1}))
      {'learning_rate': 0.1}
    """
    again = variant.retraining_hyperparameters
    return given(variant) if again is None else again


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


def whole(value: Any) -> Any:
    """Tells type checkers that a field of a variant from `check_variants` is not `None`.

    Args:
      value: of the field.

    Returns:
      The value.

    Example:
      >>> whole(0)
      0
    """
    assert value is not None, "find_tickets fills it in"
    return value
