"""What a run will take on disk, counted before it begins, and whether it fits."""

import math
import operator
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jaxticket.arms import ARMS
from jaxticket.errors import TicketError
from jaxticket.imp.setup import Setup
from jaxticket.learners import Sparse
from jaxticket.population import hosts
from jaxticket.population.memory import readable
from jaxticket.records import Template
from jaxticket.runs.shelf import held_bytes
from jaxticket.runs.thinning import Keep, keeps_params

_WEIGHTS = 0.925
"""What Orbax's compression leaves of trained float32 weights, measured."""

_WINDOW = 2**19
"""Bytes within which that compression finds what it has seen, zstd's at its first level: networks
of several variants that begin or are trained alike are R networks apart."""

_BYTE_MASK = 1.5
"""What compression leaves of a mask of whole bytes, by the entropy of its bits, measured."""

_RECORD, _PARAMS, _ORIGIN = 60_000, 45_000, 40_000
"""What parts of a checkpoint take besides arrays: folders, metadata, started blocks; measured."""

_FIGURES = 400_000
"""What figures and the files of results take, whatever is in them; measured."""

_METRICS = 2
"""Numbers that an evaluation of a split leaves: loss and accuracy."""


class DiskUse(NamedTuple):
    """What a run takes on disk.

    Attributes:
      kept: bytes, once it has ended.
      passing: bytes that it needs beside that while it trains.
    """

    kept: int
    passing: int


def predict(setup: Setup, splits: int, keep: Keep = "all") -> DiskUse:
    """Counts what a run will keep.

    Weights and masks by the schedules' exact counts: b · c · (d n + u) for a network's weights and
    n H(d) / 8 for its mask, with n prunable weights at density d, u others, b bytes a number, what
    compression leaves c, and the entropy H of a bit.

    Args:
      setup: of the search.
      splits: how many splits are evaluated or trained on.
      keep: whose params stay.

    Returns:
      Bytes.
    """
    template, lineages = setup.template(), setup.lineages
    whole, params = _bytes(template.state), _bytes(template.state.params)
    prunable = sum(leaf.size for leaf in jax.tree.leaves(template.mask))
    share = _prunable_bytes(template.state.params, template.mask) / params
    beside = _bytes(_unmasked(template.state.model_state)) + _bytes(template.observed)
    evaluations = len(setup.protocol.boundaries(int(lineages.begins.min())))
    curves = 4 * evaluations * _METRICS * splits
    networks = list(_networks(setup))
    densities = [density for _, _, density in networks]
    weights = sum(
        params * (1 - share * (1 - density))
        for arm, level, density in networks
        if level and keeps_params(keep, arm, level, setup.levels - 1)
    )
    sparse = _sparse_bytes(setup, template, params * share)
    if sparse is None:
        weights += _repeated(setup, template.state.params, len(lineages.dense_lineages))
    bits = sum(prunable * _entropy(density) for density in densities)
    records = _WEIGHTS * (weights + beside * len(densities)) + bits / 8 + curves * len(densities)
    levels, controls = _records(setup, whole)
    ends = levels // setup.levels * min(2, setup.levels)
    holding = {"all": levels + controls, "tickets": levels, "ends": ends}[keep]
    records += _RECORD * (levels + controls) + _PARAMS * holding
    rows = len(setup.arms) * setup.levels * lineages.number
    results = rows * (curves + 8 * (len(jax.tree.leaves(template.mask)) + 4))
    origin = _origin_bytes(setup, whole, template.state.params) if sparse is None else sparse
    kept = records + origin + results + _FIGURES
    # A new file of what is partway is written beside the one before.
    stopped = 0 if setup.protocol.test_curves else params + _bytes(template.state.model_state)
    passing = 2 * setup.ticket_size * (whole + stopped + _bytes(template.observed) + curves)
    passing += _mapped_bytes(template, len(networks), len(lineages.begins))
    return DiskUse(math.ceil(kept), math.ceil(passing))


def _mapped_bytes(template: Template, networks: int, lineages: int) -> float:
    """Counts what is mapped from the disk, of finished networks that the memory does not hold.

    Every process maps its own.
    """
    model_state, observed = _bytes(template.state.model_state), _bytes(template.observed)
    params = _bytes(template.state.params)
    network = params + _bytes(template.mask) + model_state + observed
    # Beside the networks the origin: initial params and rewound states.
    whole = networks * network + lineages * (params + _bytes(template.state))
    return hosts.number() * max(0.0, whole - held_bytes())


def check_disk(use: DiskUse, folder: Path, console: Console) -> None:
    """Says what a run will take, and refuses one that cannot fit.

    Args:
      use: from `predict`.
      folder: of the run; what it holds already is part of what it will hold.
      console: where to print.

    Raises:
      TicketError: if there is not so much free, with the fix.
    """
    line = hosts.once(lambda: _checked(use, folder))
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _checked(use: DiskUse, folder: Path) -> str:
    there, free = _taken(folder), shutil.disk_usage(_existing(folder)).free
    total = f"{readable(use.kept)}, and up to {readable(use.passing)} more while it trains"
    if use.kept + use.passing > there + free:
        raise TicketError(
            f"--out {folder}: the run takes {total}, expected at most the {readable(free)} that "
            f"are free there{f' and {readable(there)} that it has' if there else ''}; free some, "
            "choose another --out, or keep less with --keep ends"
        )
    return f"disk: {total}; {readable(free)} free"


def _networks(setup: Setup) -> Iterator[tuple[str, int, float]]:
    """Gives arm, level and density of each network that is kept."""
    for schedule in setup.lineages.schedules.values():
        densities = [sum(counts.values()) / sum(schedule[0].values()) for counts in schedule]
        for arm in setup.arms:
            dense = ARMS[arm].mask == "dense"
            for level, density in enumerate(densities):
                if level or arm == "ticket":
                    yield from [(arm, level, 1.0 if dense else density)] * setup.replicates


def _records(setup: Setup, state_bytes: int) -> tuple[int, int]:
    """Counts the records of the ticket's levels and those of the controls."""
    number, groups = setup.group_size, math.ceil(setup.lineages.number / setup.group_size)
    controls = (len(setup.arms) - 1) * (setup.levels - 1) * number
    size = min(setup.plan.control_chunk(number, state_bytes), max(setup.ticket_size, controls))
    return groups * setup.levels, groups * math.ceil(controls / size)


def _origin_bytes(setup: Setup, state: int, params: Any) -> float:
    """Counts initial weights, rewound states and final ones; at step 0 moments are all zero."""
    begins, fine_tunes = setup.lineages.begins, setup.lineages.keeps_rate.any()
    initial = _repeated(setup, params, setup.replicates)
    rewound = state * len(begins) if begins.any() else initial
    final = state * len(begins) if fine_tunes else 0
    return _WEIGHTS * (initial + rewound + final) + _ORIGIN


def _repeated(setup: Setup, params: Any, distinct: int) -> int:
    """Counts the params of all lineages as compression sees them, so many of which are distinct."""
    each = [_bytes(leaf) for leaf in jax.tree.leaves(params)]
    number = setup.lineages.number
    return sum(n * (distinct if n * setup.replicates <= _WINDOW else number) for n in each)


def _sparse_bytes(setup: Setup, template: Template, prunable: float) -> float | None:
    """Counts first networks and their origin where networks begin sparse; `None` if they do not.

    Their zeros and their masks, which are kept as bytes in the model state, compress.
    """
    if not isinstance(template.state.model_state, Sparse):
        return None
    whole, params = _bytes(template.state), _bytes(template.state.params)
    origin = whole / params if setup.lineages.begins.any() else 1
    taken = 0.0
    for mask in _first_masks(setup):
        leaves = jax.tree.leaves(mask)
        size = sum(leaf.size for leaf in leaves)
        density = sum(np.count_nonzero(leaf) for leaf in leaves) / size
        places = size * _entropy(density) / 8
        network = _WEIGHTS * (params - prunable * (1 - density)) + places
        # Trained and initial params, the rewound state, and both masks.
        taken += (2 + origin) * network + 2 * _BYTE_MASK * places
    return taken * setup.replicates + _ORIGIN


def _first_masks(setup: Setup) -> Iterator[Any]:
    """Draws the mask that a network of each variant begins with."""
    begin = jax.jit(lambda key, given: setup.family(given).init(key).model_state.mask)
    given = jax.tree.map(jnp.asarray, setup.lineages.hyperparameters)
    for row in range(0, setup.lineages.number, setup.replicates):
        mine = jax.tree.map(operator.itemgetter(row), given)
        yield begin(setup.lineages.keys[row], mine)


def _unmasked(model_state: Any) -> Any:
    return model_state.network if isinstance(model_state, Sparse) else model_state


def _prunable_bytes(params: Any, mask: Any) -> int:
    return _bytes(jax.tree.map(lambda p, m: None if m is None else p, params, mask))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _entropy(density: float) -> float:
    """Gives the entropy of a bit, −d log₂ d − (1 − d) log₂ (1 − d)."""
    shares = np.array([density, 1 - density])
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def _taken(folder: Path) -> int:
    """Measures what a folder takes, in whole blocks; what it lacks takes nothing."""
    if not folder.exists():
        return 0
    return sum(512 * path.lstat().st_blocks for path in [folder, *folder.rglob("*")])


def _existing(folder: Path) -> Path:
    return next(path for path in [folder, *folder.absolute().parents] if path.exists())
