"""Records as nested dicts of arrays: masks at one bit a weight, pruned weights left out."""

from typing import Any

import jax
import numpy as np

from jaxticket import masks
from jaxticket.masks.prunable import path_string
from jaxticket.records import Dropped, Origin, Record, Template

ORIGIN = "origin"
"""The item of a checkpoint that holds where tickets come from."""


def has_origin(described: dict[str, Any]) -> bool:
    """Says whether a checkpoint holds an origin beside its record, as those of dense networks do.

    Args:
      described: from `describe`.

    Returns:
      True if so.

    Example:
      >>> has_origin({"levels": [0, 0]}), has_origin({"levels": [1, 2]})
      (True, False)
    """
    return described["levels"][0] == 0


def describe(record: Record) -> dict[str, Any]:
    """Says which networks a record holds, and the shapes of their masks.

    Args:
      record: the record.

    Returns:
      What JSON can hold.
    """
    masked = by_path(record.masks)
    return {
        "arms": list(record.arms),
        "levels": [int(level) for level in record.levels],
        "replicates": [int(replicate) for replicate in record.replicates],
        "variants": list(record.variants),
        "prunable": {path: list(leaf.shape) for path, leaf in masked.items()},
    }


def encode(record: Record) -> dict[str, Any]:
    """Makes nested dicts of arrays of a record.

    Args:
      record: the record.

    Returns:
      Leaves by their path, but for empty parts, which Orbax does not keep.
    """
    content = {
        "steps": np.asarray(record.steps),
        "curves": record.curves,
        "masks": masks.pack(by_path(record.masks)),
        "model_state": by_path(record.model_state),
        "observed": _number(record.observed),
    }
    return {name: part for name, part in content.items() if not _is_empty(part)}


def encode_params(record: Record) -> dict[str, Any]:
    """Makes a dict of arrays of the trained params of a record, which may be dropped later.

    Args:
      record: the record.

    Returns:
      Leaves by their path, without the weights that are pruned.
    """
    masked, params = by_path(record.masks), by_path(record.params)
    return masks.compress(params, {path: masked.get(path) for path in params})


def decode(content: dict[str, Any], kept: Any, metadata: dict[str, Any]) -> Record:
    """Undoes `encode`, `encode_params` and `describe`; trees stay flat dicts by leaf path.

    Args:
      content: from `encode`.
      kept: from `encode_params`, or `Dropped`.
      metadata: from `describe`.

    Returns:
      The record, masks unpacked and pruned weights restored as zeros.

    Raises:
      ValueError: if the arrays are not of the shapes that are described.
      KeyError: if one is missing.
    """
    like = {
        path: jax.ShapeDtypeStruct(tuple(shape), bool)
        for path, shape in metadata["prunable"].items()
    }
    _check_packed(content["masks"], like)
    masked = masks.unpack(content["masks"], like)
    params = kept
    if not isinstance(kept, Dropped):
        params = masks.expand(kept, {path: masked.get(path) for path in kept})
    record = Record(
        arms=tuple(metadata["arms"]),
        levels=tuple(metadata["levels"]),
        replicates=tuple(metadata["replicates"]),
        variants=tuple(metadata["variants"]),
        steps=content["steps"],
        curves=content["curves"],
        masks=masked,
        params=params,
        model_state=content.get("model_state", {}),
        observed=content.get("observed", {}),
    )
    _check_population(record)
    return record


def encode_origin(origin: Origin) -> dict[str, Any]:
    """Makes nested dicts of arrays of an origin.

    Args:
      origin: the origin.

    Returns:
      Its parts, but for empty ones.
    """
    content = {
        "initial": by_path(origin.initial),
        "rewound": _number(origin.rewound),
        "final": _number(origin.final),
    }
    return {name: part for name, part in content.items() if part}


def rebuild_origin(content: dict[str, Any], template: Template) -> Origin:
    """Undoes `encode_origin`.

    Args:
      content: from `encode_origin`.
      template: of one network.

    Returns:
      The origin, with the trees that the template describes.

    Raises:
      ValueError: if the arrays are not of the template's shapes and dtypes.
      KeyError: if one is missing.
    """
    return Origin(
        _rebuild(template.state.params, content["initial"]),
        _unnumber(template.state, content["rewound"]),
        _unnumber(template.state, content["final"]) if "final" in content else (),
    )


def rebuild(record: Record, template: Template) -> Record:
    """Gives the trees of a record from `decode` their structure back.

    Args:
      record: with flat dicts by leaf path.
      template: of one network.

    Returns:
      The record, with the trees that the template describes.

    Raises:
      ValueError: if the arrays are not of the template's shapes and dtypes.
      KeyError: if one is missing.
    """
    return record._replace(
        masks=_rebuild(template.mask, record.masks),
        params=_rebuild_params(template.state.params, record.params),
        model_state=_rebuild(template.state.model_state, record.model_state),
        observed=_unnumber(template.observed, record.observed),
    )


def by_path(tree: Any) -> dict[str, Any]:
    """Lists the leaves of a tree by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_string(path): leaf for path, leaf in leaves}


def _rebuild(template: Any, flat: dict[str, Any]) -> Any:
    wanted = by_path(template)
    if set(wanted) != set(flat):
        strange = sorted(set(wanted) ^ set(flat))[0]
        raise ValueError(f"{strange} is a leaf of either what was saved or this network, not both")
    for path, one in wanted.items():
        _check_leaf(path, one, flat[path])
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[path_string(path)], template)


def _rebuild_params(template: Any, params: Any) -> Any:
    return params if isinstance(params, Dropped) else _rebuild(template, params)


def _number(tree: Any) -> dict[str, Any]:
    return {f"{i:05}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _unnumber(template: Any, flat: dict[str, Any]) -> Any:
    wanted, structure = jax.tree.flatten(template)
    leaves = [flat[name] for name in sorted(flat)]
    if len(leaves) != len(wanted):
        raise ValueError(f"holds {len(leaves)} leaves of a state of {len(wanted)}")
    for place, (one, leaf) in enumerate(zip(wanted, leaves, strict=True)):
        _check_leaf(f"leaf {place} of the state", one, leaf)
    return jax.tree.unflatten(structure, leaves)


def _check_leaf(path: str, one: Any, leaf: Any) -> None:
    if np.shape(leaf)[1:] != one.shape or leaf.dtype != one.dtype:
        raise ValueError(
            f"{path} is {leaf.dtype}{list(np.shape(leaf)[1:])}, this network's is "
            f"{one.dtype}{list(one.shape)}"
        )


def _check_packed(packed: dict[str, Any], like: dict[str, Any]) -> None:
    if set(packed) != set(like):
        raise ValueError("its masks are not of the leaves that it says can be pruned")
    for path, one in like.items():
        bits = np.asarray(packed[path])
        if bits.dtype != np.uint8 or bits.shape != (-(-one.size // 8),):
            raise ValueError(f"the mask of {path} is {bits.dtype}{list(bits.shape)}, packed")


def _check_population(record: Record) -> None:
    """Checks that axis 0 of everything has a row for each network."""
    number, steps = len(record.arms), np.shape(record.steps)
    if len(steps) != 1 or any(np.shape(c) != (number, *steps) for c in record.curves.values()):
        raise ValueError(f"has curves for other than {number} networks at {steps} steps")
    params = {} if isinstance(record.params, Dropped) else record.params
    for path, leaf in (params | record.model_state | record.observed).items():
        if np.shape(leaf)[:1] != (number,):
            raise ValueError(f"{path} has {list(np.shape(leaf))} for {number} networks")


def _is_empty(part: Any) -> bool:
    return isinstance(part, dict) and not part
