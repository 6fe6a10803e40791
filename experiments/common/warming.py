"""Training again without warm-up."""

import dataclasses
from collections.abc import Mapping

from experiments.common.problem import Problem
from jaxticket.errors import TicketError
from jaxticket.imp import Variant


def without_warmup(problem: Problem, variants: Mapping[str, Variant]) -> dict[str, Variant]:
    """Trains levels 1 and up of a sweep without warm-up, if `--skip-warmup` says so.

    Args:
      problem: what is run; its configuration has the field `skip_warmup`.
      variants: of the sweep.

    Returns:
      The variants.

    Raises:
      TicketError: if no variant has a warm-up, or a rewind step lies inside one.
    """
    if not problem.config.skip_warmup:
        return dict(variants)
    made = {name: _skipping(problem, variant) for name, variant in variants.items()}
    if not any(variant.hyperparameters["warmup"] for variant in made.values()):
        raise TicketError("--skip-warmup: got no warm-up that could be skipped; give one too")
    return made


def _skipping(problem: Problem, variant: Variant) -> Variant:
    config, epoch = problem.config, problem.steps_an_epoch
    first = {"warmup": config.warmup.at(epoch), **(variant.hyperparameters or {})}
    begin = variant.rewind_step
    begin = config.rewind_step.at(epoch) if begin is None else begin
    if 0 < begin < first["warmup"]:
        raise TicketError(
            f"--skip-warmup: got the rewind step {begin:,} inside the warm-up, which takes "
            f"{first['warmup']:,} steps, expected step 0 or one that is not before its end"
        )
    again = first | {"warmup": 0}
    return dataclasses.replace(variant, hyperparameters=first, retraining_hyperparameters=again)
