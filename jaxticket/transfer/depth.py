"""The elastic unit map: tickets stretched to deeper networks, or squeezed to shallower ones."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxticket.errors import TicketError
from jaxticket.masks.prunable import path_string


class UnitMap(NamedTuple):
    """Which units of a deeper or shallower network repeat which units of the given one.

    Attributes:
      sources: for each unit of the new network, in order, the unit that it repeats.
      given: one more than the last unit of the given network that is named.
    """

    sources: tuple[int, ...]
    given: int

    def __str__(self) -> str:
        """Writes it as `unit_map` reads it."""
        of = {n: [t for t, s in enumerate(self.sources) if s == n] for n in range(self.given)}
        return ";".join(f"{source}:{','.join(map(str, new))}" for source, new in of.items())


def unit_map(text: str) -> UnitMap:
    """Reads an elastic unit map: `source:target,target;source:target ...`.

    `0:0;1:1,2;2:3,4` makes five units of three, the second and the third one each twice in a row.
    `0:0;1:;2:1` makes two of three and leaves the second out. The first unit, which changes the
    size of what it is given, is mapped alone: `0:0`.

    Args:
      text: each source unit once, its targets separated by commas, perhaps none.

    Returns:
      The map.

    Raises:
      TicketError: for anything else, targets that are not 0, 1, 2 ... each once, sources out of
        order, and a first unit that is not mapped alone.

    Example:
      >>> unit_map("0:0;1:1,2;2:3,4").sources
      (0, 1, 1, 2, 2)
      >>> str(unit_map("0:0;1:;2:1"))
      '0:0;1:;2:1'

    Source: 2103.16547, and the authors' code for the form of the text (unverified).
    """
    expected = "expected such as 0:0;1:1,2;2:3,4"
    pieces = [piece.strip() for piece in text.split(";")]
    for piece in pieces:
        if not re.fullmatch(r"\d+\s*:\s*(\d+(\s*,\s*\d+)*)?", piece, re.ASCII):
            raise TicketError(f"unit map {text!r}: got {piece!r}, {expected}")
    pairs = [piece.split(":") for piece in pieces]
    sources = [int(source) for source, _ in pairs]
    new = [[int(t) for t in targets.split(",")] if targets.strip() else [] for _, targets in pairs]
    if sources != list(range(len(sources))):
        raise TicketError(
            f"unit map {text!r}: got source units {sources}, expected 0 to {len(sources) - 1} in "
            "order, each once"
        )
    if new[0] != [0]:
        raise TicketError(
            f"unit map {text!r}: got 0:{','.join(map(str, new[0]))}, expected 0:0, since the first "
            "unit changes sizes and cannot be repeated"
        )
    flat = list(itertools.chain(*new))
    if sorted(flat) != list(range(len(flat))):
        raise TicketError(
            f"unit map {text!r}: got target units {sorted(flat)}, expected 0 to {len(flat) - 1}, "
            "each once"
        )
    source_of = {t: s for s, targets in zip(sources, new, strict=True) for t in targets}
    return UnitMap(tuple(source_of[t] for t in range(len(flat))), len(sources))


def stretch(
    tree: Any, mapping: UnitMap, units: Sequence[str], *, like: Any = None
) -> dict[str, Any]:
    """Repeats the units of a network as a map says: of its params, mask or batch statistics.

    Unit t of the new tree is the unit s(t) of the given one, to the bit; all else stays. Copies are
    not tied: each is trained and pruned on its own.

    Args:
      tree: nested dicts, leaves of any kind, with a population's axis or without.
      mapping: from `unit_map`.
      units: names of what a unit is made of, with `{}` for its number: `("hidden_{}", "norm_{}")`
        of `models.deep_mlp`, `("block_{:02}",)` of ResNets. They are found at any depth. The blocks
        of a ResNet are numbered through all stages, of which each first one is mapped alone:
        `0:0;1:1,2;2:3,4;3:5;4:6,7 ...` makes ResNet-32 of ResNet-20.
      like: a tree of the new network, such as its `model.init` gives (`jax.eval_shape` will do),
        with whose shapes the new one has to agree; not checked if `None`.

    Returns:
      The new tree.

    Raises:
      TicketError: for a name without a number, units that the map does not name or that are not
        there, and leaves that are not those of `like`.

    Example:
      >>> params = {"hidden_0": 1.0, "hidden_1": 2.0, "output": 3.0}
      >>> stretch(params, unit_map("0:0;1:1,2"), ("hidden_{}",))
      {'hidden_0': 1.0, 'hidden_1': 2.0, 'hidden_2': 2.0, 'output': 3.0}

    Source: 2103.16547 (E-LTH), whose units are residual blocks; of other units it is this project's
    definition. The function of the network is not kept.
    """
    for name in units:
        if not re.fullmatch(r"[^{}]*\{(:0?\d+)?\}[^{}]*", name):
            raise TicketError(
                f"unit {name!r}: expected a name with one number, such as hidden_{{}}"
            )
    new = _stretched(tree, mapping, tuple(units))
    if jax.tree.leaves(tree) and not _numbers(new, units):
        raise TicketError(f"units: got {', '.join(units)}, expected names of units that are there")
    if like is not None:
        _check_like(new, like)
    return new


def _stretched(tree: Any, mapping: UnitMap, units: tuple[str, ...]) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    new: dict[str, Any] = {}
    for name, branch in tree.items():
        unit = next((unit for unit in units if _number(unit, name) is not None), None)
        if unit is None:
            new[name] = _stretched(branch, mapping, units)
        elif _number(unit, name) == 0:
            _check_units(tree, mapping, unit)
            copies = enumerate(mapping.sources)
            new |= {unit.format(target): tree[unit.format(source)] for target, source in copies}
    return new


def _number(unit: str, name: str) -> int | None:
    """Reads the number of a unit from its name; `None` if it is none."""
    before, after = unit.split("{")[0], unit.split("}")[1]
    inner = name.removeprefix(before).removesuffix(after)
    known = inner.isdecimal() and unit.format(int(inner)) == name
    return int(inner) if known else None


def _numbers(tree: Any, units: Sequence[str]) -> set[int]:
    """Finds the numbers of all units that are there."""
    if not isinstance(tree, Mapping):
        return set()
    here = (_number(unit, name) for unit in units for name in tree)
    found = {number for number in here if number is not None}
    return found.union(*(_numbers(branch, units) for branch in tree.values()))


def _check_units(tree: Mapping[str, Any], mapping: UnitMap, unit: str) -> None:
    there = sorted(_numbers(dict.fromkeys(tree), (unit,)))
    if there != list(range(mapping.given)):
        raise TicketError(
            f"unit map {mapping}: names the units 0 to {mapping.given - 1}, and the network has "
            f"{len(there)} of {unit!r}; name each, with nothing behind its colon to leave it out"
        )


def _check_like(new: Any, like: Any) -> None:
    shapes = [
        {path_string(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(one)}
        for one in (new, like)
    ]
    for path in shapes[0] | shapes[1]:
        made, wanted = (one.get(path, "nothing") for one in shapes)
        if made != wanted:
            raise TicketError(
                f"stretch: {path} becomes {made}, expected {wanted}; map every unit that changes "
                "sizes alone, and as many units as the new network has"
            )
