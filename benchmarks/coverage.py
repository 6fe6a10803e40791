"""How often do intervals hold the truth? Simulated, with as few replicates as runs have.

Samples of known mean are drawn many times: normal ones, skewed ones, accuracies on a finite test
set, early-stop steps on their grid, and networks of which one in ten collapses. Counted is how
often the 95 % Student t interval of `jaxticket.analysis` holds the true mean, and how often it lies
wholly above it (a false "greater than") or below it. Then how often some claim of a family holds
falsely when all are false, with and without Holm's correction, where the claims share replicates.
Last the percentile bootstrap, which one claim of `experiments.lenet` uses. Normal samples must be
covered in 95 % of the draws to within four standard errors of the simulation, and no family may
err more often than 2.5 %, the upper side of 5 %; else exit code 1. Nothing is timed: of what all
benchmarks take, `--models`, `--rounds` and `--device` change nothing here.

Command: `python -m benchmarks.coverage`
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from scipy import stats

from benchmarks.common.benchmark import make_main
from benchmarks.common.options import Options
from benchmarks.common.report import Column, Findings, Row, table
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket.analysis.claims import LEVEL
from jaxticket.analysis.statistics import holm, t_intervals
from jaxticket.errors import TicketError

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
"""`draw(generator, (simulations, replicates)) -> samples`."""

EXAMPLES = 2_000
"""Of the embedded test set, on which accuracies are counted."""
RESAMPLES = 1_000
"""Of each bootstrap; a hundredth of the simulations are bootstrapped."""


def _accuracies(mean: float, deviation: float) -> Draw:
    """Draws shares of the test set: each network has its own, and its finite count."""
    size = mean * (1 - mean) / deviation**2 - 1

    def draw(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        own = generator.beta(mean * size, (1 - mean) * size, shape)
        return generator.binomial(EXAMPLES, own) / EXAMPLES

    return draw


def _collapsing(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    usual = _accuracies(0.85, 0.005)(generator, shape)
    return np.where(generator.random(shape) < 0.1, 0.1, usual)


def _steps(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    # The grid of an evaluation every 100 steps: a sum of two geometric counts is skewed.
    return 100.0 * generator.negative_binomial(2, 0.25, shape)


POPULATIONS: dict[str, tuple[float, Draw]] = {
    "normal": (0.0, lambda generator, shape: generator.normal(size=shape)),
    "skewed (exponential)": (1.0, lambda generator, shape: generator.exponential(size=shape)),
    "accuracy, 85.0 ± 0.5 %": (0.85, _accuracies(0.85, 0.005)),
    "accuracy, 99.0 ± 0.5 %": (0.99, _accuracies(0.99, 0.005)),
    "difference of two accuracies": (
        0.0,
        lambda generator, shape: (
            _accuracies(0.85, 0.005)(generator, shape) - _accuracies(0.85, 0.02)(generator, shape)
        ),
    ),
    "early-stop steps, every 100": (600.0, _steps),
    "one in ten collapses to chance": (0.9 * 0.85 + 0.1 * 0.1, _collapsing),
}
"""True mean and draw, by name."""


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    simulations: int = 200_000
    """Samples drawn of each kind."""
    replicates: tuple[int, ...] = (3, 5, 15)
    """Sizes of a sample."""
    claims: tuple[int, ...] = (2, 8, 20)
    """Sizes of a family of claims."""
    correlations: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Correlation of any two claims of a family, which share replicates."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, simulations=2_000, replicates=(3, 5), claims=(4,))


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_positive(simulations=config.simulations)
    if min(config.replicates) < 2:
        raise TicketError(f"--replicates: got {min(config.replicates)}, expected at least 2")


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    generator = np.random.default_rng(config.seed)
    rows = [
        coverage(name, number, config.simulations, generator)
        for name in POPULATIONS
        for number in config.replicates
    ]
    families = [
        family(number, correlation, config.simulations, generator)
        for number in config.claims
        for correlation in config.correlations
    ]
    percentile = [
        bootstrap(number, max(100, config.simulations // 100), generator)
        for number in config.replicates
    ]
    measured = {"coverage": rows, "families": families, "bootstrap": percentile}
    findings.measurements.update(measured)
    findings.faults.extend(_faults(rows, families, config))
    caption = f"{config.simulations:,} samples of each kind; 2.5 % above and 2.5 % below are meant"
    console.print(table("95 % Student t intervals", _COLUMNS, rows, caption))
    caption = "5 normal replicates each, no claim true; 2.5 % is meant, as all claims are one-sided"
    console.print(table("families of claims: any that holds", _FAMILY_COLUMNS, families, caption))
    console.print(table("95 % percentile bootstrap of the mean", _COLUMNS, percentile))


_COLUMNS = [
    Column("population", "population"),
    Column("replicates", "replicates"),
    Column("covered", "holds the mean", ".2%"),
    Column("above", "lies above it", ".2%"),
    Column("below", "lies below it", ".2%"),
]
_FAMILY_COLUMNS = [
    Column("claims", "claims"),
    Column("correlation", "correlation", ".1f"),
    Column("alone", "each by itself", ".2%"),
    Column("corrected", "corrected", ".2%"),
]


def coverage(name: str, number: int, simulations: int, generator: np.random.Generator) -> Row:
    """Counts how often the t interval of a population's samples holds its mean.

    Args:
      name: a key of `POPULATIONS`.
      number: replicates of a sample.
      simulations: how many samples.
      generator: of the draws.

    Returns:
      Shares of the samples.
    """
    mean, draw = POPULATIONS[name]
    _, low, high = t_intervals(draw(generator, (simulations, number)))
    return _shares(name, number, low, high, mean)


def bootstrap(number: int, simulations: int, generator: np.random.Generator) -> Row:
    """Counts the same for the percentile bootstrap of normal samples.

    Args:
      number: replicates of a sample.
      simulations: how many samples.
      generator: of the draws.

    Returns:
      Shares of the samples.
    """
    ends = []
    for sample in generator.normal(size=(simulations, number)):
        means = sample[generator.integers(0, number, (RESAMPLES, number))].mean(axis=1)
        ends.append(np.percentile(means, [2.5, 97.5]))
    low, high = np.array(ends).T
    return _shares("normal", number, low, high, 0.0)


def family(
    number: int, correlation: float, simulations: int, generator: np.random.Generator
) -> Row:
    """Counts how often some claim of a family holds though none is true.

    Args:
      number: claims, each that a mean is above 0, which it is exactly.
      correlation: of any two claims' values in a replicate.
      simulations: ten times as many as families, each of which is corrected by itself.
      generator: of the draws.

    Returns:
      Shares of the families.
    """
    replicates, drawn = 5, max(100, simulations // 10)
    shared = generator.normal(size=(drawn, 1, replicates))
    own = generator.normal(size=(drawn, number, replicates))
    values = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
    found: Any = stats.ttest_1samp(values, 0, axis=-1, alternative="greater")
    p_values = np.minimum(1, 2 * found.pvalue)
    corrected = np.array([min(holm(one)) for one in p_values.tolist()])
    return {
        "claims": number,
        "correlation": correlation,
        "alone": float((p_values.min(axis=1) < LEVEL).mean()),
        "corrected": float((corrected < LEVEL).mean()),
        "families": drawn,
    }


def _shares(name: str, number: int, low: np.ndarray, high: np.ndarray, mean: float) -> Row:
    above, below = float((low > mean).mean()), float((high < mean).mean())
    return {
        "population": name,
        "replicates": number,
        "covered": 1 - above - below,
        "above": above,
        "below": below,
    }


def _faults(rows: list[Row], families: list[Row], config: Config) -> list[str]:
    """Finds what would mean that the code is wrong: these two are theorems."""
    noise = 4 * (0.05 * 0.95 / config.simulations) ** 0.5
    missed = [
        f"normal samples of {row['replicates']}: covered in {row['covered']:.2%}, expected 95 %"
        for row in rows
        if row["population"] == "normal" and abs(row["covered"] - 0.95) > noise
    ]
    return missed + [
        f"{row['claims']} claims: {row['corrected']:.2%} of families err, expected at most 2.5 %"
        for row in families
        if row["corrected"] > LEVEL / 2 + 4 * (0.025 / row["families"]) ** 0.5
    ]


main = make_main("coverage", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
