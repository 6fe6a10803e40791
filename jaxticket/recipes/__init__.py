"""How networks are trained and pruned, as papers state it: recipes and what makes them run.

A `Recipe` is a flat list of names and numbers. `check_recipe` says what is wrong with one,
`make_family` makes its learners, `RECIPES` holds the published ones with their sources, and
`from_config` gives back that of a finished run.
"""

from jaxticket.recipes.architectures import ARCHITECTURES, Architecture, architecture
from jaxticket.recipes.checks import SCOPES, check_recipe, check_times
from jaxticket.recipes.learning import (
    HYPERPARAMETERS,
    make_family,
    make_learner,
    make_model,
    make_schedule,
)
from jaxticket.recipes.optimization import OPTIMIZERS, make_optimizer, one_of
from jaxticket.recipes.published import RECIPES, Published, by_name
from jaxticket.recipes.reading import from_config
from jaxticket.recipes.recipe import Recipe
from jaxticket.recipes.schedules import SCHEDULES, constant, cosine, stepped, warmed_up
from jaxticket.recipes.searching import (
    make_allocation,
    make_protocol,
    make_prunable,
    steps_an_epoch,
)
from jaxticket.recipes.step import Step

__all__ = [
    "ARCHITECTURES",
    "HYPERPARAMETERS",
    "OPTIMIZERS",
    "RECIPES",
    "SCHEDULES",
    "SCOPES",
    "Architecture",
    "Published",
    "Recipe",
    "Step",
    "architecture",
    "by_name",
    "check_recipe",
    "check_times",
    "constant",
    "cosine",
    "from_config",
    "make_allocation",
    "make_family",
    "make_learner",
    "make_model",
    "make_optimizer",
    "make_protocol",
    "make_prunable",
    "make_schedule",
    "one_of",
    "stepped",
    "steps_an_epoch",
    "warmed_up",
]
