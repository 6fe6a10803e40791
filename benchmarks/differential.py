"""Does another implementation find the same tickets? IMP by jaxticket and by PyTorch, compared.

LeNet-300-100 on the embedded Fashion-MNIST, pruned layer by layer and globally, under SGD with
momentum and under Adam. Both sides are given the same initial weights and the same examples in
every batch; nothing else is shared: `benchmarks/by_hand/torch_imp.py` imports nothing of jaxticket.
Three things must hold, else exit code 1:

- *Selection.* Given jaxticket's trained weights, PyTorch's pruning gives jaxticket's next mask, to
  the bit, at every level.
- *Masks at level 1.* In float64 both sides' masks are equal, to the weight.
- *Accuracy.* At every level the mean difference is within three standard errors of the difference
  of two sets of seeds, by the seeds' own spread, and one test example.

In float32 masks of level 1 are counted and not asserted. Rounding differs between any two programs,
and where it turns the sign of one ReLU's input, one step moves the weights a hundred times further
apart, and the rest of the training further still; PyTorch in float32 and in float64 part in the
same way. A weight may then only change sides nearer to the threshold than twice what the sides'
weights differ by, which is asserted, and which says little once those differ by much.

Nothing is timed: of what all benchmarks take, `--models` and `--rounds` change nothing here.
PyTorch computes on the CPU.

Command: `python -m benchmarks.differential` (PyTorch: `pip install -e '.[benchmarks]'`)
"""

import dataclasses
import importlib.util
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from benchmarks.common.agreement import arrays, differing, greatest_gap, unexplained
from benchmarks.common.benchmark import make_main
from benchmarks.common.options import Options
from benchmarks.common.problems import Problem, make_problem
from benchmarks.common.report import Column, Findings, Row, table
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket import Model, Plan, Protocol, allocate, find_tickets
from jaxticket.errors import unknown
from jaxticket.imp import Variant
from jaxticket.keys import derive, replicate_keys
from jaxticket.learners import Learner, supervised
from jaxticket.result import Network, Result
from jaxticket.train import epoch_order

RATES = {"momentum": 0.1, "adam": 1.2e-3}
"""Learning rates by optimizer, constant."""
SCOPES = {
    "layerwise": allocate.layerwise({"*": 0.2, "output/*": 0.1}),
    "global": allocate.globally(0.2),
}
"""The rates of 1803.03635, and one rate for all layers together."""
PRECISIONS = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 6
    """Levels, the dense one included."""
    replicates: int = 5
    """Initialisations."""
    steps: int = 600
    """Steps of each network."""
    precisions: tuple[str, ...] = PRECISIONS
    """What both sides compute in: float32, float64."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, levels=3, replicates=2, steps=8)


class Case(NamedTuple):
    """One search that both sides make.

    Attributes:
      precision: of `PRECISIONS`.
      optimizer: a key of `RATES`.
      scope: a key of `SCOPES`.
    """

    precision: str
    optimizer: str
    scope: str

    def __str__(self) -> str:
        """Names it in a fault and above its table."""
        return f"{self.precision}, {self.optimizer}, {self.scope}"


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_positive(levels=config.levels, replicates=config.replicates, steps=config.steps)
    for precision in config.precisions:
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    findings.measurements.update({"levels": []})
    if importlib.util.find_spec("torch") is None:
        findings.not_measured.append("PyTorch: it is not installed")
        return
    problem = make_problem("lenet_300_100", quick=config.quick)
    for precision in config.precisions:
        with jax.enable_x64(precision == "float64"):
            batches = batches_of(problem, config)
            for optimizer in RATES:
                result = _search(precision, optimizer, problem, config)
                for scope in SCOPES:
                    case = Case(precision, optimizer, scope)
                    rows = compare(case, problem, result, batches, findings)
                    console.print(table(str(case), _COLUMNS, rows, _caption(config)))


_COLUMNS = [
    Column("level", "level"),
    Column("density", "density", ".1%"),
    Column("differing", "weights whose mask differs", ",.0f"),
    Column("apart", "weights apart by at most", ".1e"),
    Column("accuracy", "jaxticket", ".4f"),
    Column("torch_accuracy", "PyTorch", ".4f"),
    Column("difference", "difference", ".5f"),
    Column("noise", "noise allows", ".5f"),
]


def _caption(config: Config) -> str:
    return (
        f"{config.replicates} replicates, {config.steps} steps a level; differing weights are "
        "those of all replicates together"
    )


def compare(
    case: Case, problem: Problem, result: Result, batches: np.ndarray, findings: Findings
) -> list[Row]:
    """Makes on the other side the search that was made here, and adds what differs.

    Args:
      case: which.
      problem: the data and the network.
      result: all scopes, as a sweep.
      batches: from `batches_of`.
      findings: appended to.

    Returns:
      A row a level.
    """
    from benchmarks.by_hand import torch_imp

    levels, replicates = range(result.levels), range(result.replicates)
    task = torch_imp.Task(
        images=np.asarray(problem.train.images),
        labels=np.asarray(problem.train.labels),
        test_images=np.asarray(problem.test.images),
        test_labels=np.asarray(problem.test.labels),
        optimizer=case.optimizer,
        learning_rate=RATES[case.optimizer],
        rates=_rates(case.scope, result),
    )
    ours = [[result.network("ticket", n, r, case.scope) for n in levels] for r in replicates]
    theirs = [
        torch_imp.iterative_pruning(_initial(case, result, replicate), batches[replicate], task)
        for replicate in replicates
    ]
    for replicate, networks in enumerate(ours):
        for level, (before, after) in enumerate(itertools.pairwise(networks)):
            pruned = torch_imp.prune(arrays(before.params), arrays(before.mask), task.rates)
            if differing(pruned, arrays(after.mask)):
                findings.faults.append(
                    f"{case}: from the same weights of replicate {replicate}, level {level}, "
                    "PyTorch prunes others"
                )
    densities = result.densities(case.scope)
    rows = [
        _row(case, level, densities[level], [n[level] for n in ours], [n[level] for n in theirs])
        for level in levels
    ]
    findings.measurements["levels"] += rows
    findings.faults.extend(_faults(case, rows, ours, theirs, len(task.test_labels)))
    return rows


def _initial(case: Case, result: Result, replicate: int) -> dict[str, np.ndarray]:
    place = result.variants.index(case.scope) * result.replicates + replicate
    return arrays(jax.tree.map(lambda leaf: leaf[place], result.origin.initial))


def _rates(scope: str, result: Result) -> dict[str, float]:
    if scope == "global":
        return {"*": 0.2}
    paths = arrays(result.network("ticket", 0, 0, scope).mask)
    return {path: 0.1 if path.startswith("output/") else 0.2 for path in paths}


def _search(precision: str, optimizer: str, problem: Problem, config: Config) -> Result:
    return find_tickets(
        _learner(precision, optimizer, problem),
        {"train": problem.train, "test": problem.test},
        jax.random.key(config.seed),
        Protocol(config.steps, problem.setting.batch_size, config.steps),
        SCOPES["layerwise"],
        levels=config.levels,
        replicates=config.replicates,
        arms=("ticket",),
        variants={name: Variant(allocation=allocation) for name, allocation in SCOPES.items()},
        plan=Plan.auto(len(SCOPES) * config.replicates),
    )


def _learner(precision: str, optimizer: str, problem: Problem) -> Learner:
    """Makes the learner, whose weights and images have that precision."""
    dtype, rate = jnp.dtype(precision), RATES[optimizer]

    def init(key: Any) -> Any:
        params, model_state = problem.model.init(key)
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params), model_state

    learner = supervised(
        Model(init, problem.model.apply),
        optax.adam(rate) if optimizer == "adam" else optax.sgd(rate, momentum=0.9),
        preprocess=lambda images: images.astype(dtype) / 255,
    )

    def step(*given: Any) -> Any:
        state, metrics = learner.step(*given)
        # The library adds up metrics in float32.
        return state, jax.tree.map(lambda metric: metric.astype(jnp.float32), metrics)

    return learner._replace(step=step)


def batches_of(problem: Problem, config: Config) -> np.ndarray:
    """Lists the examples of every batch that the library draws.

    Args:
      problem: gives the number of examples and the batch size.
      config: gives the seed and how many of what.

    Returns:
      `int32[replicates, levels, steps, batch]`.
    """
    number, size = len(problem.train.labels), problem.setting.batch_size
    an_epoch = number // size
    epochs = jnp.arange(-(-config.steps // an_epoch))

    def of_level(key: Any, level: Any) -> Any:
        own = derive(key, "train", level)
        orders = jax.vmap(lambda epoch: epoch_order(own, epoch, number))(epochs)
        return orders[:, : an_epoch * size].reshape(-1, size)[: config.steps]

    keys = replicate_keys(jax.random.key(config.seed), config.replicates)
    each = jax.vmap(of_level, in_axes=(None, 0))
    return np.asarray(jax.jit(jax.vmap(each, in_axes=(0, None)))(keys, jnp.arange(config.levels)))


def _row(case: Case, level: int, density: float, ours: list[Network], theirs: list[Any]) -> Row:
    pairs = list(zip(ours, theirs, strict=True))
    accuracy = np.array([float(network.curves["test_accuracy"][-1]) for network in ours])
    other = np.array([network.accuracy for network in theirs])
    return {
        **case._asdict(),
        "level": level,
        "density": float(density),
        "differing": sum(differing(arrays(a.mask), b.masks) for a, b in pairs),
        "apart": max(greatest_gap(arrays(a.params), b.trained) for a, b in pairs),
        "accuracy": float(accuracy.mean()),
        "torch_accuracy": float(other.mean()),
        "difference": float((other - accuracy).mean()),
        "spread": float(np.sqrt((accuracy.var(ddof=1) + other.var(ddof=1)) / 2)),
        "noise": 0.0,
    }


def _faults(
    case: Case, rows: list[Row], ours: list[list[Network]], theirs: list[Any], examples: int
) -> list[str]:
    found = []
    for row in rows:
        row["noise"] = 3 * row["spread"] * (2 / len(ours)) ** 0.5 + 1 / examples
        if not abs(row["difference"]) <= row["noise"]:
            found.append(
                f"{case}, level {row['level']}: accuracies differ by {row['difference']:.4f}, "
                f"expected at most {row['noise']:.4f}"
            )
    if case.precision == "float64" and len(rows) > 1 and rows[1]["differing"]:
        found.append(f"{case}: {rows[1]['differing']} weights differ in the masks of level 1")
    strange = [
        path
        for (dense, first, *_), (their, their_first, *_) in zip(ours, theirs, strict=True)
        for path in unexplained(
            case.scope, arrays(dense.params), arrays(first.mask), their.trained, their_first.masks
        )
    ]
    if strange:
        found.append(f"{case}: masks differ further from the threshold than rounding: {strange}")
    return found


main = make_main("differential", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
