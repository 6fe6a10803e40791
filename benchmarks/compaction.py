"""What is gained by being smaller? Structured tickets compacted, unstructured ones as BCOO.

Half the units of every layer are removed, at random, and the network compacted: its inference and
its training step are timed beside those of the dense network under the same mask. Both must give
the same outputs to 1e-5 of the largest; else exit code 1. Unstructured masks of one dense layer
are timed as BCOO products beside the dense product.

Command: `python -m benchmarks.compaction`
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from benchmarks.common import machine
from benchmarks.common.benchmark import make_main
from benchmarks.common.options import Options
from benchmarks.common.problems import Problem, check_models, make_problem
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.targets import verdict
from benchmarks.common.timing import Contender, interleave, ratio, spread
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket import structure
from jaxticket.errors import TicketError
from jaxticket.structure import Compacted, Kept

TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    kept: float = 0.5
    """Share of the units that is kept, in every group."""
    examples: int = 256
    """Examples of one inference and of one training step."""
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.01)
    """Shares of weights that the sparse products keep."""
    side: int = 512
    """Rows and columns of the matrix of the sparse products."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    small = {"models": ("lenet_300_100",), "examples": 4, "densities": (0.1,), "side": 32}
    return dataclasses.replace(config, **small)


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_models(config.models)
    check_positive(examples=config.examples, side=config.side)
    for share in (config.kept, *config.densities):
        if not 0 < share <= 1:
            raise TicketError(f"kept and densities: got {share}, expected shares in (0, 1]")


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    findings.measurements.update({"networks": [], "products": []})
    networks, products = findings.measurements.values()
    for name in config.models:
        networks += measure_network(make_problem(name, quick=config.quick), config, findings.faults)
    products += measure_products(config, findings.faults)
    console.print(table("a structured ticket, compacted", _NETWORKS, networks, _CAPTION))
    console.print(table("an unstructured ticket, as a sparse array", _PRODUCTS, products))
    for task in ("inference", "training"):
        least = min(row["ratio"] for row in networks if row["task"] == task)
        findings.verdicts.append(verdict(f"compaction.{task}", least, machine.kind()))
    fastest = max(row["ratio"] for row in products)
    findings.verdicts.append(verdict("compaction.sparse", fastest, machine.kind()))


_NETWORKS = [
    Column("model", "network"),
    Column("task", "task"),
    Column("parameters", "parameters", ",d"),
    Column("compacted_parameters", "compacted", ",d"),
    Column("milliseconds", "masked, ms", ".2f"),
    Column("compacted_milliseconds", "compacted, ms", ".2f"),
    Column("ratio_text", "masked over compacted"),
]
_PRODUCTS = [
    Column("density", "density"),
    Column("milliseconds", "dense, ms", ".3f"),
    Column("sparse_milliseconds", "BCOO, ms", ".3f"),
    Column("ratio_text", "dense over BCOO"),
    Column("bytes_ratio", "dense bytes over BCOO's", ".2f"),
]
_CAPTION = "medians of rounds, with the range of their ratios"


def measure_network(problem: Problem, config: Config, faults: list[str]) -> list[Row]:
    """Times the dense and the compacted network.

    Args:
      problem: the network and its data.
      config: what was chosen.
      faults: outputs that differ are added.

    Returns:
      A row for inference and one for a training step.
    """
    model, setting = problem.model, problem.setting
    params, model_state = jax.jit(model.init)(jax.random.key(config.seed))
    shape = (setting.side, setting.side, setting.channels)
    graph = structure.trace(model, params, model_state, shape)
    kept = _random_units(graph, config)
    params = structure.zeroed(graph, params, kept)
    small = structure.compact(graph, model, params, model_state, kept)
    both = {"masked": Compacted(model, params, model_state), "compacted": small}
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[: config.examples]), problem.train)
    rows = []
    for task, make in (("inference", _inference), ("training", _training_step)):
        contenders = [_contender(n, make(problem), net, batch) for n, net in both.items()]
        timings = interleave(contenders, config.rounds)
        if task == "inference":
            _compare(problem.name, timings.outcomes, faults)
        rows.append(
            {
                "model": problem.name,
                "task": task,
                "parameters": _size(params),
                "compacted_parameters": _size(small.params),
                **_compared(timings.seconds, "masked", "compacted"),
            }
        )
    return rows


def _random_units(graph: structure.Graph, config: Config) -> Kept:
    generator = np.random.default_rng(config.seed)
    return {
        group.name: generator.permutation(group.size) < max(1, round(config.kept * group.size))
        for group in graph.groups
    }


def _inference(problem: Problem) -> Callable[..., Any]:
    objective = problem.learner.objective
    assert objective is not None, "supervised learners have one"

    def infer(params: Any, model_state: Any, batch: Any) -> Any:
        inputs = objective.prepare(batch)
        return objective.apply(params, model_state, inputs, train=False)[0]

    return infer


def _training_step(problem: Problem) -> Callable[..., Any]:
    # Without a schedule or moments: what is timed is the network.
    objective, optimizer = problem.learner.objective, optax.sgd(1e-3)
    assert objective is not None, "supervised learners have one"

    def loss(params: Any, model_state: Any, batch: Any) -> Any:
        inputs = objective.prepare(batch)
        outputs, after = objective.apply(
            params, model_state, inputs, train=True, key=jax.random.key(0)
        )
        return jnp.mean(objective.loss(outputs, batch)), after

    def step(params: Any, model_state: Any, batch: Any) -> Any:
        gradients, after = jax.grad(loss, has_aux=True)(params, model_state, batch)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        return jax.tree.map(jnp.add, params, updates), after

    return step


def _contender(name: str, function: Any, network: Compacted, batch: Any) -> Contender:
    arguments = (network.params, network.model_state, batch)
    compiled = jax.jit(function).lower(*arguments).compile()
    return Contender(name, lambda: arguments, lambda given: jax.block_until_ready(compiled(*given)))


def _compare(name: str, outcomes: dict[str, Any], faults: list[str]) -> None:
    dense, small = (np.asarray(outcomes[side]) for side in ("masked", "compacted"))
    worst = float(np.max(np.abs(dense - small)) / np.max(np.abs(dense)))
    if not worst < TOLERANCE:
        faults.append(f"{name}: compacted outputs differ by {worst:.1e} of the largest")


def _compared(seconds: dict[str, np.ndarray], first: str, second: str) -> Row:
    found, prefix = ratio(seconds[first], seconds[second]), second
    return {
        "milliseconds": spread(1e3 * seconds[first]).median,
        f"{prefix}_milliseconds": spread(1e3 * seconds[second]).median,
        "ratio": found.median,
        "ratio_text": str(found),
    }


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def measure_products(config: Config, faults: list[str]) -> list[Row]:
    """Times x W with a masked W as a dense and as a BCOO array.

    Args:
      config: what was chosen.
      faults: products that differ are added.

    Returns:
      A row a density.
    """
    keys = jax.random.split(jax.random.key(config.seed), 3)
    x = jax.random.normal(keys[0], (config.examples, config.side))
    kernel = jax.random.normal(keys[1], (config.side, config.side))
    rows = []
    for density in config.densities:
        mask = {"kernel": jax.random.uniform(keys[2], kernel.shape) < density}
        sparse = structure.to_bcoo({"kernel": kernel}, mask)
        dense = structure.from_bcoo(sparse)
        contenders = [
            _product("dense", x, dense["kernel"]),
            _product("sparse", x, sparse["kernel"]),
        ]
        timings = interleave(contenders, config.rounds)
        found, expected = (np.asarray(timings.outcomes[side]) for side in ("sparse", "dense"))
        if not np.allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()):
            faults.append(f"the BCOO product at density {density} is another than the dense one")
        held = sum(leaf.nbytes for leaf in jax.tree.leaves(sparse))
        compared = _compared(timings.seconds, "dense", "sparse")
        rows.append({"density": density, **compared, "bytes_ratio": kernel.nbytes / held})
    return rows


def _product(name: str, x: jax.Array, kernel: Any) -> Contender:
    # The array of the weights on the left, as JAX's sparse products want it.
    multiply = jax.jit(lambda kernel, x: kernel.T @ x.T).lower(kernel, x).compile()
    return Contender(
        name, lambda: (kernel, x), lambda given: jax.block_until_ready(multiply(*given))
    )


main = make_main("compaction", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
