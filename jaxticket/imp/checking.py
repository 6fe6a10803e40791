"""What a variant may not be, said before anything runs."""

from collections.abc import Mapping
from typing import get_args

import jax
import numpy as np

from jaxticket.errors import TicketError, unknown
from jaxticket.imp.scoring import check_scoring
from jaxticket.imp.variants import Pruning, Retraining, Variant, given, given_again, whole
from jaxticket.protocol import Protocol
from jaxticket.rewind import rewind


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
      >>> from jaxticket.imp import DEFAULT
      >>> check_variants({"late": Variant(rewind_step=9)}, DEFAULT, Protocol(9, 1, 3))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: variant 'late': rewind step: got 9, expected 0 to 8, before \
the end of training at step 9
    """
    chosen = {name: variant.over(default) for name, variant in variants.items()}
    for name, variant in chosen.items():
        _check_ways(name, variant)
        _check_numbers(name, variant)
        _check_again(name, variant)
        _check_moments(name, variant)
        try:
            protocol.boundaries(whole(variant.rewind_step))
        except TicketError as error:
            raise TicketError(f"variant {name!r}: {error}" if name else str(error)) from None
    return chosen


def _check_ways(name: str, variant: Variant) -> None:
    if variant.retraining not in get_args(Retraining):
        raise unknown(_of("retraining", name), str(variant.retraining), get_args(Retraining))
    if variant.pruning not in get_args(Pruning):
        raise unknown(_of("pruning", name), str(variant.pruning), get_args(Pruning))
    if variant.pruning != "iterative" and variant.retraining != "weights":
        raise TicketError(
            f"variant {name!r}: got pruning {variant.pruning!r} with retraining "
            f"{variant.retraining!r}, expected 'weights': the others go on from the weights of the "
            "level before, which such a mask was not made from"
        )


def _check_numbers(name: str, variant: Variant) -> None:
    check_scoring(whole(variant.scoring), _of("scoring", name))
    if not np.isfinite(whole(variant.repulsion)):
        raise TicketError(
            f"{_of('repulsion', name)}: got {variant.repulsion}, expected a finite number: above 0 "
            "repels, below 0 attracts"
        )


def _check_again(name: str, variant: Variant) -> None:
    first, again = jax.tree.structure(given(variant)), jax.tree.structure(given_again(variant))
    if first != again:
        raise TicketError(
            f"{_of('retraining_hyperparameters', name)}: got the structure {again}, expected that "
            f"of its hyperparameters, {first}"
        )


def _check_moments(name: str, variant: Variant) -> None:
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


def _of(what: str, name: str) -> str:
    return f"{what} of variant {name!r}" if name else what
