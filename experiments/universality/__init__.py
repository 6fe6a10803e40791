"""Do tickets work on other tasks, and do those that do share a flow? Transfer and universality.

Claim: a ticket found with one data set and optimizer is, at 5 % of the weights, nearly as good on
another one as the ticket found there, and better than a random ticket; a source whose pixels are
permuted is of less use. If iterative pruning is a renormalisation group, tasks between which
tickets transfer have like exponents: then tickets lose more the further apart the flows are.

Paper: Morcos, Yu, Paganini & Tian, "One ticket to win them all", NeurIPS 2019, arXiv 1906.02773;
Redman et al., "Universality of Winning Tickets", ICML 2022, arXiv 2110.03210. Of both the abstracts
were read; the observable and the protocol are from memory (unverified).

Command: `python -m experiments.universality`; `--run DIR` reads the tickets of any finished run: of
one of this experiment all tasks' once more, to other levels or with other controls; of another one
those of the data set and the optimizer that it was trained with (of several searches those of
--variant), beside which those of the other tasks and optimizers are made in the same way.

Tasks are made of one data set: all of it, its lower and its upper classes (both relabelled from 0,
the other outputs unused), its pixels in one random order; and other data sets, resized and at most
as large, MNIST where it is on this machine or --task-paths says where. All of them are stacked, so
that task, optimizer and replicate are one population. Smaller sets are repeated up to the size of
the largest, so that all networks train for as many steps. A ticket takes its mask and its weights
at the rewind step along; the output layer gets new initial weights, and keeps the source's mask.
Network r of all tasks has the same initial weights. Pruning is global, without which the shares of
the layers do not flow. Controls are `reinit`, `shuffle` and both, which is the random ticket. The
optimizers are compared on the whole set.

Presets:
  default  5,000 embedded Fashion-MNIST images and 1,250 digits, LeNet-300-100, five tasks and a
           second optimizer, six levels: 180 networks and 726 transfers; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    Fashion-MNIST and MNIST, the recipe lenet-2019 under global pruning: 600 networks, 30.0
           million network-steps, and 726 transfers, 36.3 million.

Expected: no number of the papers is for networks of this size.
"""

import functools
from typing import TYPE_CHECKING

import xarray

from experiments.common import lottery
from experiments.common.experiment import Experiment, Problem, run
from experiments.universality import claiming, flow_claims, measuring
from experiments.universality.choices import PRESETS, check
from experiments.universality.searches import beyond, make_family, names_of, one_search, variants
from experiments.universality.tables import tables
from experiments.universality.tasks import FIRST, stack, with_optional
from jaxticket.analysis import Claim
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MORCOS = "Morcos et al. 2019, arXiv 1906.02773 (abstract)"
NEAR, FAR = ("lower", "upper"), "permuted"


TRIED = {
    "across-optimizers-whole-momentum-to-whole": "nothing else was tried. Tickets of momentum lose "
    "1.1 points under Adam, those of Adam 0.4 under momentum; the tolerance is 1.",
    "transfer-loss-grows-with-flow-distance": "a smaller network, three replicates and four tasks "
    "gave -0.30 (-0.54 to -0.05). Permuted pixels leave a perceptron's flow as it is and are among "
    "the worst sources.",
}
"""What was tried of claims that failed at default size, by id; for the report."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    names, (first, *_) = names_of(problem), problem.schedule(one_search(problem).allocation)
    tasks = [name for name in names if ", " not in name]
    near = [name for name in NEAR if name in tasks] or list(NEAR)
    of_optimizers = [
        claiming.across_optimizers(*pair, MORCOS)
        for name in names
        if name not in tasks
        for pair in ((FIRST, name), (name, FIRST))
    ]
    return [
        *lottery.exact_claims(),
        *claiming.exact_claims(),
        claiming.native_at_least_transferred(tasks, MORCOS),
        claiming.transferred_beats("shuffle_reinit", tasks, MORCOS),
        claiming.transferred_beats("reinit", tasks, claiming.OWN),
        claiming.transferred_beats("shuffle", tasks, claiming.OWN),
        *of_optimizers,
        claiming.permuted_transfers_worse(near, FAR, FIRST, claiming.OWN),
        claiming.permuted_first_layer_differs(near, FAR, FIRST),
        # Where each layer keeps what was fixed for it, its share hardly flows.
        flow_claims.if_global(flow_claims.spread_between_tasks(tasks), first),
        flow_claims.if_global(flow_claims.loss_grows_with_distance(), first),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the transfer matrix, the exponents of all tasks, and loss against distance.

    Args:
      results: with what `measuring.measured` adds.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "transfer": plots.transfer_matrices(results),
        "exponents": plots.flow_exponents(results),
        "distance": plots.loss_against_distance(results),
        "accuracy": plots.variants_against_density(results),
    }


EXPERIMENT = Experiment(
    "universality",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    variants,
    check,
    tables,
    measuring.measured,
    make_family,
    stack,
    with_optional,
    reads=("ticket",),
    beyond=beyond,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
