"""The searches between which tickets go, and which of them a run of one data set does not hold."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.common.experiment import Problem
from experiments.common.going_on import Further
from experiments.universality.choices import Config
from experiments.universality.tasks import FIRST, stack
from jaxticket import recipes
from jaxticket.errors import TicketError, unknown
from jaxticket.imp import DEFAULT, Variant
from jaxticket.learners import Learner
from jaxticket.population import Plan
from jaxticket.recipes import Step
from jaxticket.recipes.learning import HYPERPARAMETERS
from jaxticket.rewind import rewind


def make_family(config: Config, dataset: Any) -> Callable[[Mapping[str, Any]], Learner]:
    """Makes the learners of the recipe on all tasks, with all optimizers.

    Args:
      config: the configuration.
      dataset: the stacked tasks.

    Returns:
      `family(hyperparameters) -> Learner`.
    """
    names = (config.optimizer, *config.other_optimizers)
    return recipes.make_family(config, dataset, config.precision, optimizers=names)


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the tasks, and the other optimizers on the first one.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    return _variants(problem.config, Variant())


def _variants(config: Config, base: Variant) -> dict[str, Variant]:
    """Lists them, in all else as another search."""
    own = dict(base.hyperparameters or {})
    rate = own.get("learning_rate", config.learning_rate)
    rates = [rate] + [config.other_learning_rate] * len(config.other_optimizers)
    cells = {name: (place, 0) for place, name in enumerate(config.tasks)}
    for place, name in enumerate(config.other_optimizers, start=1):
        cells[_with(name)] = (config.tasks.index(FIRST), place)

    def given(task: int, which: int) -> dict[str, Any]:
        return own | {"task": task, "optimizer": which, "learning_rate": float(rates[which])}

    return {
        name: dataclasses.replace(base, hyperparameters=given(*cell))
        for name, cell in cells.items()
    }


def _with(optimizer: str) -> str:
    return f"{FIRST}, {optimizer}"


def of_tasks(problem: Problem) -> bool:
    """Says whether a problem's searches are tasks, or those of a run of one data set."""
    own = next(iter((problem.variants or {"": Variant()}).values())).hyperparameters
    return isinstance(own, Mapping) and {"task", "optimizer"} <= set(own)


def names_of(problem: Problem) -> list[str]:
    """Lists the names of all searches, that of the run that is read first."""
    if of_tasks(problem):
        return list(problem.variants or {})
    return list(_variants(_with_first(problem.config), Variant()))


def one_search(problem: Problem) -> Variant:
    """Gives what the search that is read of a run, or the first task's, does in its own way.

    Args:
      problem: of the run.

    Returns:
      The variant, whole.

    Raises:
      TicketError: if the run holds no such search.
    """
    config, searches = problem.config, problem.variants or {"": Variant()}
    if config.variant not in {"", *searches}:
        raise unknown("variant", config.variant, searches)
    default = dataclasses.replace(
        DEFAULT,
        allocation=problem.allocation(),
        rewind_step=config.rewind_step.at(problem.steps_an_epoch),
        rewind_moments=config.rewind_moments,
        pruning=config.pruning,
    )
    return searches[config.variant or next(iter(searches))].over(default)


def beyond(problem: Problem) -> Further | None:
    """Lists the searches that a run of one data set lacks: the other tasks and optimizers.

    Args:
      problem: of the run that is read.

    Returns:
      What is trained besides; nothing for a run of tasks.

    Raises:
      TicketError: if its tickets cannot be compared with those of the others.
    """
    config, which = problem.config, _which(problem.config)
    if of_tasks(problem):
        if config.variant:
            raise TicketError(f"{which}: all tasks of a run of tasks are read; leave --variant out")
        return None
    if problem.dataset.train.images.ndim == 5:
        raise TicketError(
            f"{which}: its networks are trained on several data sets, expected one, or a run of "
            "this experiment"
        )
    base = one_search(problem)
    _check_native(which, base)
    others = _others(problem, base)
    _check_alike(which, problem, base, others)
    return Further(FIRST, others, later=True)


def _others(problem: Problem, base: Variant) -> Problem:
    """Makes the problem of the other tasks; in all that a run of one data set decides it is its."""
    config = dataclasses.replace(_with_first(problem.config), arms=("ticket",), variant="")
    dataset = stack(config, problem.dataset)
    # Stacked sets may be shorter by a few examples, and would have other epochs.
    family = make_family(_in_iterations(config, problem.steps_an_epoch), dataset)
    made = _variants(config, base)
    del made[FIRST]
    if not made:
        raise TicketError("--tasks: got no other task than the run's, expected one or an optimizer")
    plan = Plan.by_name(config.plan, config.replicates * len(made))
    return problem._replace(config=config, dataset=dataset, family=family, plan=plan, variants=made)


def _with_first(config: Config) -> Config:
    """Puts the run's own data set first, whether it was named or not."""
    others = tuple(name for name in config.tasks if name != FIRST)
    return dataclasses.replace(config, tasks=(FIRST, *others))


def _in_iterations(config: Config, steps_an_epoch: int) -> Config:
    def exact(value: Any) -> Any:
        if isinstance(value, Step):
            return Step.iterations(value.at(steps_an_epoch))
        return tuple(map(exact, value)) if isinstance(value, tuple) else value

    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return dataclasses.replace(config, **{name: exact(value) for name, value in fields.items()})


def _which(config: Config) -> str:
    return f"--run {config.run}" + f" --variant {config.variant}" * bool(config.variant)


def _check_native(which: str, search: Variant) -> None:
    """Refuses a search whose tickets are not what its networks were trained from."""
    for what, got, wanted in (
        ("retraining", search.retraining, "weights"),
        ("restart", search.action, rewind),
        ("repulsion", search.repulsion, 0.0),
        ("rewound moments", search.rewind_moments, False),
        ("other hyperparameters after level 0", search.retraining_hyperparameters, None),
    ):
        if got != wanted:
            names = [getattr(one, "__name__", one) for one in (got, wanted)]
            raise TicketError(
                f"{which}: is a search with {what} {names[0]}, expected {names[1]}: a ticket is "
                "carried as its mask and its weights at the rewind step"
            )
    strange = [name for name in search.hyperparameters or {} if name not in HYPERPARAMETERS]
    if strange:
        raise TicketError(
            f"{which}: its networks have the hyperparameter {strange[0]}, which those of the other "
            f"tasks have not, expected some of {', '.join(HYPERPARAMETERS)}"
        )


def _check_alike(which: str, problem: Problem, base: Variant, others: Problem) -> None:
    """Refuses networks of another kind than the recipe's on the other tasks."""
    if others.dataset.classes != problem.dataset.classes:
        raise TicketError(
            f"{which}: its networks have {problem.dataset.classes} outputs, expected as many as "
            f"the {others.dataset.classes} classes of the largest of --tasks "
            f"{' '.join(others.config.tasks)}; leave that one out"
        )
    given = base.hyperparameters or {}
    another = next(iter((others.variants or {}).values())).hyperparameters
    there, here = (
        jax.eval_shape(family(hyperparameters).init, jax.random.key(0))
        for family, hyperparameters in ((problem.family, given), (others.family, another))
    )
    trees = [(state.params, state.model_state) for state in (there, here)]
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree) for tree in trees]
    if shapes[0] != shapes[1]:
        raise TicketError(
            f"{which}: its networks are other ones than the recipe's {others.config.model}, which "
            "those of the other tasks are, expected the same; name another run"
        )
