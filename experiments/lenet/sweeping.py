"""What LeNet is swept over: optimizers, learning rates, decays, prune rates, strategies."""

from fractions import Fraction
from typing import Any

import numpy as np

from experiments.common import lottery, sweeps
from experiments.common.crossing import crossed
from experiments.common.problem import Problem
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.imp import Retraining, Variant
from jaxticket.recipes.optimization import OPTIMIZERS

STRATEGIES: dict[int, Retraining] = {1: "weights", 2: "learning_rate"}
"""Of 1803.03635, appendix B: reset at every level, or train on and reset for the ticket alone."""


def check(config: Any) -> None:
    """Refuses sweeps that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    for name in ("learning_rates", "optimizers", "weight_decays", "prune_rates", "strategies"):
        if getattr(config, name):
            sweeps.check_some(f"--{name.replace('_', '-')}", getattr(config, name))
    _check_numbers(config)
    sweeps.check_known("optimizer", config.optimizers, tuple(OPTIMIZERS))
    strange = [number for number in config.strategies if number not in STRATEGIES]
    if strange:
        raise TicketError(f"--strategies: got {strange[0]}, expected 1, 2 or both")
    if 2 in config.strategies and "rewound" not in config.arms:
        raise TicketError(
            "--strategies 2: got no arm rewound, expected it: its networks are the tickets"
        )


def _check_numbers(config: Any) -> None:
    """Refuses rates and decays that no search can have."""
    wrong = [rate for rate in config.learning_rates if not (rate > 0 and np.isfinite(rate))]
    if wrong:
        raise TicketError(f"--learning-rates: got {wrong[0]}, expected positive numbers")
    wrong = [one for one in config.weight_decays if not (one >= 0 and np.isfinite(one))]
    if wrong:
        raise TicketError(f"--weight-decays: got {wrong[0]}, expected numbers of 0 or more")
    for rate in config.prune_rates:
        given = _rates(config, rate) if rate > 0 and np.isfinite(rate) else {"prune_rate": rate}
        for name, value in given.items():
            if not 0 <= value < 1 or rate <= 0:
                option = name.replace("_", "-")
                raise TicketError(
                    f"--prune-rates: got {rate}, with which --{option} is {value}, expected shares "
                    "between 0 and 1"
                )


def _rates(config: Any, rate: float) -> dict[str, float]:
    """Gives all rates of pruning as they are at another one, in the proportions of the recipe."""
    factor = Fraction(str(rate)) / Fraction(str(config.prune_rate))
    names = ("convolution_prune_rate", "output_prune_rate")
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    # Products of decimals, since counts follow from the decimals that were given.
    scaled = {name: float(Fraction(str(value)) * factor) for name, value in given.items()}
    return {"prune_rate": rate} | scaled


def variants(problem: Problem) -> dict[str, Variant] | None:
    """Lists the searches of a sweep.

    Args:
      problem: what is run.

    Returns:
      One an optimizer, learning rate, weight decay, prune rate and strategy; `None` without a
      sweep.
    """
    config = problem.config
    made_of = lambda **given: Variant({name: float(one) for name, one in given.items()})  # noqa: E731
    return crossed(
        {name: Variant({"optimizer": place}) for place, name in enumerate(config.optimizers)},
        {f"rate {rate:g}": made_of(learning_rate=rate) for rate in config.learning_rates},
        {f"weight decay {one:g}": made_of(weight_decay=one) for one in config.weight_decays},
        {
            _prune_rate(rate): Variant(allocation=problem.allocation(**_rates(config, rate)))
            for rate in config.prune_rates
        },
        {f"strategy {one}": Variant(retraining=STRATEGIES[one]) for one in config.strategies},
    )


def _prune_rate(rate: float) -> str:
    return f"prune rate {rate:g}"


def claims_of_prune_rates(problem: Problem) -> list[Claim]:
    """Claims that to prune less at a time is no worse.

    Args:
      problem: what is run.

    Returns:
      A claim about the lowest and the highest rate; none where anything else is swept too.
    """
    rates, swept = sorted(problem.config.prune_rates), variants(problem) or {}
    if len(rates) < 2 or _prune_rate(rates[0]) not in swept:
        return []
    slow, fast = (sweeps.Cell(_prune_rate(rate)) for rate in (rates[0], rates[-1]))
    source = "this project's own question, after one-shot pruning in 1803.03635, section 2"
    return [sweeps.as_good(slow, fast, 13.5, lottery.TOLERANCE, source)]
