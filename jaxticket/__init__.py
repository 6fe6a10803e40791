"""Lottery tickets and pruning in JAX.

Every piece is a pure function of pytrees, written for one network; a population is axis 0.
`jaxticket.imp` finds tickets; `masks`, `criteria`, `allocate`, `prune`, `rewind` and `train`
are its parts. The rooms `models`, `recipes`, `data`, `runs`, `analysis` and `plots` are
imported when first used, so that `import jaxticket` costs little more than `import jax`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxticket import (
    allocate,
    arms,
    costs,
    criteria,
    errors,
    imp,
    isometry,
    keys,
    learned_masks,
    learners,
    masks,
    optimizers,
    population,
    precision,
    protocol,
    prune,
    rewind,
    structure,
    topology,
    train,
    trainer,
    transfer,
    types,
)
from jaxticket.errors import MaskError, TicketError
from jaxticket.imp import Scoring, Variant, find_tickets
from jaxticket.optimizers import masked
from jaxticket.population import Plan
from jaxticket.protocol import Protocol
from jaxticket.types import Examples, Model

if TYPE_CHECKING:
    from jaxticket import analysis, data, models, plots, recipes, runs

__version__ = "0.1.0"

__all__ = [
    "Examples",
    "MaskError",
    "Model",
    "Plan",
    "Protocol",
    "Scoring",
    "TicketError",
    "Variant",
    "allocate",
    "analysis",
    "arms",
    "costs",
    "criteria",
    "data",
    "errors",
    "find_tickets",
    "imp",
    "isometry",
    "keys",
    "learned_masks",
    "learners",
    "masked",
    "masks",
    "models",
    "optimizers",
    "plots",
    "population",
    "precision",
    "protocol",
    "prune",
    "recipes",
    "rewind",
    "runs",
    "structure",
    "topology",
    "train",
    "trainer",
    "transfer",
    "types",
]

_LAZY = ("analysis", "data", "models", "plots", "recipes", "runs")


def __getattr__(name: str) -> Any:
    """Imports a room when it is first used."""
    if name in _LAZY:
        return importlib.import_module(f"jaxticket.{name}")
    raise AttributeError(f"module 'jaxticket' has no attribute {name!r}")
