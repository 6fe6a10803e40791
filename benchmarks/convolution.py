"""What does a convolution cost inside a loop? Each lowering, forward and both derivatives.

A layer's result and both its derivatives are computed some times over inside one compiled loop, as
training does, by every lowering of `jaxticket.models.convolve`, and once by
`jax.lax.conv_general_dilated` outside of any loop. All must agree to 1e-4 of the largest value;
else exit code 1.

Command: `python -m benchmarks.convolution`
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from benchmarks.common.benchmark import make_main
from benchmarks.common.options import Options
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.timing import Contender, interleave, ratio
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket.models import choose_lowering, convolve
from jaxticket.models._lowering import LOWERINGS

LAYERS = {
    "conv_2, second": (60, 32, 64, 64),
    "resnet_20, first stage": (128, 32, 16, 16),
    "resnet_20, second stage": (128, 16, 32, 32),
    "resnet_20, third stage": (128, 8, 64, 64),
}
"""Images, side in pixels, channels and features of 3x3 convolutions, by name."""

ALONE = "direct, outside of a loop"
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    passes: int = 4
    """Times that a layer is computed in a loop."""
    slow: bool = False
    """Measure XLA's own convolution inside of a loop too, where it is slow."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, passes=1)


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_positive(passes=config.passes)


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    findings.measurements.update({"convolution": []})
    for name, shape in LAYERS.items():
        shape = (2, *shape[1:]) if config.quick else shape
        findings.measurements["convolution"] += measure(name, shape, config, findings.faults)
    rows = findings.measurements["convolution"]
    console.print(table("a 3x3 convolution and both its derivatives", _COLUMNS, rows))


_COLUMNS = [
    Column("layer", "layer"),
    Column("lowering", "lowering"),
    Column("milliseconds", "ms", ".1f"),
    Column("over_chosen", "time over the lowering chosen here"),
]


def measure(name: str, shape: tuple[int, ...], config: Config, faults: list[str]) -> list[Row]:
    """Measures one layer by all lowerings.

    Args:
      name: of the layer.
      shape: images, side, channels and features.
      config: what was chosen.
      faults: results that disagree are added.

    Returns:
      A row a lowering.
    """
    operands, chosen = _operands(shape, config.seed), choose_lowering()
    names = [each for each in LOWERINGS if each != "direct" or config.slow or each == chosen]
    contenders = [_contender(each, each, operands, config.passes) for each in names]
    contenders.append(_contender(ALONE, "direct", operands, 1))
    seconds = interleave(contenders, config.rounds).seconds
    reference = jax.tree.leaves(_once("direct", operands))
    for each in names:
        found = jax.tree.leaves(_once(each, operands))
        worst = max(_error(a, b) for a, b in zip(found, reference, strict=True))
        if not worst < TOLERANCE:
            faults.append(f"{name}: {each} differs by {worst:.1e} of the largest value")
    passes = {each: 1 if each == ALONE else config.passes for each in seconds}
    per_pass = {each: seconds[each] / passes[each] for each in seconds}
    return [
        {
            "layer": name,
            "lowering": f"{each} (chosen)" if each == chosen else each,
            "milliseconds": float(np.median(1e3 * per_pass[each])),
            "over_chosen": str(ratio(per_pass[each], per_pass[chosen])),
        }
        for each in seconds
    ]


def _operands(shape: tuple[int, ...], seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    images, side, channels, features = shape
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (images, side, side, channels))
    kernel = 0.05 * jax.random.normal(keys[1], (3, 3, channels, features))
    return x, kernel, jax.random.normal(keys[2], (images, side, side, features))


def _all_three(lowering: str, x: Any, kernel: Any, cotangent: Any) -> tuple[Any, Any, Any]:
    result, pull = jax.vjp(lambda x, k: convolve(x, k, lowering=lowering), x, kernel)
    # So that the derivatives need the result, which would otherwise be left out.
    return result, *pull(cotangent + 1e-6 * result)


def _once(lowering: str, operands: Any) -> Any:
    return jax.jit(lambda *operands: _all_three(lowering, *operands))(*operands)


def _contender(name: str, lowering: str, operands: Any, passes: int) -> Contender:
    def loop(x: Any, kernel: Any, cotangent: Any) -> Any:
        def once(_: Any, carry: Any) -> Any:
            x, kernel = carry
            _, by_image, by_kernel = _all_three(lowering, x, kernel, cotangent)
            return x - 1e-6 * by_image, kernel - 1e-6 * by_kernel

        carry = (x, kernel)
        return once(0, carry) if name == ALONE else jax.lax.fori_loop(0, passes, once, carry)

    compiled = jax.jit(loop).lower(*operands).compile()
    return Contender(name, lambda: operands, lambda given: jax.block_until_ready(compiled(*given)))


def _error(found: Any, expected: Any) -> float:
    return float(jnp.max(jnp.abs(found - expected)) / jnp.max(jnp.abs(expected)))


main = make_main("convolution", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
