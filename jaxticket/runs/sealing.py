"""Checksums by which a checkpoint is known again: of every leaf, of itself, of the one before."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxticket.archives import leads_elsewhere
from jaxticket.runs.empty import check_taken
from jaxticket.runs.forms import check_form, check_text
from jaxticket.runs.json_files import SCHEMA, checksum

WITHOUT_CHECKSUMS = 2
"""The last schema whose steps carry no checksums; they are still read."""

_FORM = {
    "arms": [str],
    "levels": [int],
    "replicates": [int],
    "variants": [str],
    "prunable": dict,
}
_SEALED_FORM = {
    "step": int,
    "after": str,
    "identity": dict,
    "leaves": dict,
    "sha256": str,
}


def seal(
    metadata: dict[str, Any],
    items: Mapping[str, Any],
    step: int,
    after: str,
    identity: Mapping[str, str],
) -> dict[str, Any]:
    """Adds to what a step says of itself all that tells whether it is the same when it is read.

    Args:
      metadata: what it says.
      items: what it holds, nested dicts of arrays by item.
      step: its number.
      after: the checksum of the step before, `""` for the first one: so no step is taken for
        another, and none stands behind one that it does not depend on.
      identity: what all steps of a run have in common.

    Returns:
      The metadata with a checksum of every leaf, empty ones too, and one of itself.
    """
    sealed = {
        **metadata,
        "schema": SCHEMA,
        "step": step,
        "after": after,
        "identity": dict(identity),
        "leaves": leaf_checksums(items),
    }
    return sealed | {"sha256": checksum(sealed)}


def leaf_checksums(tree: Any) -> dict[str, str]:
    """Computes the sha256 of every array in nested dicts, with its shape and dtype.

    Args:
      tree: nested dicts of arrays.

    Returns:
      64 hexadecimal digits by path.

    Example:
      >>> list(leaf_checksums({"record": {"steps": np.arange(3)}}))
      ['record/steps']
    """
    return {"/".join(path): _checksum(leaf) for path, leaf in _leaves(tree)}


def is_sealed(metadata: Mapping[str, Any]) -> bool:
    """Says whether metadata carry checksums, damaged or not.

    Args:
      metadata: of a step.

    Returns:
      True unless an older version saved them.
    """
    return any(name in metadata for name in _SEALED_FORM)


def check_checksum(metadata: dict[str, Any]) -> None:
    """Checks that metadata are what was saved, in whatever version.

    Args:
      metadata: of a step.

    Raises:
      ValueError: if not.
    """
    check_form(metadata, {"schema": int, **_SEALED_FORM})
    rest = {name: part for name, part in metadata.items() if name != "sha256"}
    if checksum(rest) != metadata["sha256"]:
        raise ValueError("its metadata have another sha256 than they were saved with")


def check_place(metadata: dict[str, Any], number: int, identity: Mapping[str, str]) -> None:
    """Checks that metadata were saved as this step, by this run.

    Args:
      metadata: of the step.
      number: of the step.
      identity: what must be the same, by name; what the step does not say is not compared.

    Raises:
      ValueError: saying what is not.
    """
    if metadata["step"] != number:
        raise ValueError(f"was saved as step {metadata['step']}")
    for name, mine in identity.items():
        theirs = metadata["identity"].get(name, mine)
        if theirs != mine:
            raise ValueError(f"was saved by a run of another {name}, {theirs!r}, not {mine!r}")


def check_description(metadata: dict[str, Any]) -> None:
    """Checks what becomes a coordinate, a leaf of nested dicts, or a line on a terminal.

    Args:
      metadata: of a step.

    Raises:
      ValueError: saying what is wrong.
    """
    check_form(metadata, _FORM)
    lists = [metadata[name] for name in ("arms", "levels", "replicates", "variants")]
    if len({len(one) for one in lists}) != 1 or not lists[0]:
        raise ValueError("names its networks by lists of different lengths, or names none")
    for text in (*metadata["arms"], *metadata["variants"], *metadata["prunable"]):
        check_text(text)
    strange = [path for path in metadata["prunable"] if leads_elsewhere(path)]
    if strange:
        raise ValueError(f"names a leaf {strange[0]!r}")
    check_taken(metadata.get("empty", []))
    for path, shape in metadata["prunable"].items():
        check_form(shape, [int], path)
        if not shape or shape[0] != len(lists[0]) or min(shape) < 0:
            raise ValueError(f"says that {path} is of shape {shape} for {len(lists[0])} networks")


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for name, part in tree.items() for leaf in _leaves(part, (*path, str(name)))]


def _checksum(leaf: Any) -> str:
    array = np.ascontiguousarray(leaf)
    found = hashlib.sha256(f"{array.dtype} {np.shape(leaf)}".encode())
    found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
