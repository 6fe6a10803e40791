"""The searches that are compared: one for each step k that tickets go back to."""

from experiments.common.experiment import Problem
from experiments.common.warming import without_warmup
from jaxticket.errors import TicketError
from jaxticket.imp import Variant


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the steps k.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    config = problem.config
    plain, moments = (
        sorted(step.at(problem.steps_an_epoch) for step in steps)
        for steps in (config.rewind_steps, config.moments_steps)
    )
    if len(set(plain)) < len(plain):
        raise TicketError(
            f"--rewind-steps: got {', '.join(map(str, config.rewind_steps))}, which are the steps "
            f"{plain}, expected different ones"
        )
    chosen = {name_of(k): Variant(rewind_step=k) for k in plain} | {
        f"{name_of(k)} with moments": Variant(rewind_step=k, rewind_moments=True) for k in moments
    }
    return without_warmup(problem, chosen)


def name_of(step: int) -> str:
    """Names the search whose tickets go back to a step."""
    return f"k = {step:,}"
