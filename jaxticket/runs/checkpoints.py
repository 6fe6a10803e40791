"""Finished networks as Orbax checkpoints: masks at one bit a weight, pruned weights left out."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxticket import masks
from jaxticket.errors import TicketError
from jaxticket.masks.prunable import path_string
from jaxticket.population import hosts
from jaxticket.records import Coordinate, Dropped, Origin, Record, Template
from jaxticket.runs.partway import PartwayFile
from jaxticket.runs.thinning import (
    PARAMS,
    Keep,
    check_keep,
    drop,
    has_params,
    keeps_params,
    was_thinned,
)

try:
    import orbax.checkpoint.v1 as ocp  # pyright: ignore[reportMissingImports]
except ImportError:  # where the v1 API has not left its first home
    import orbax.checkpoint.experimental.v1 as ocp

SCHEMA = 3
"""Version of the layout below; raised whenever it changes."""

_READABLE = (2, SCHEMA)
"""Schema 2 had the params among the record."""


class CheckpointStore:
    """Keeps records under `directory`, one Orbax step a record, in the order of saving.

    Step n of the ticket's levels is level n; the chunks of the controls follow. Each step
    describes itself: leaves are named by their path, and the metadata hold coordinates and
    shapes. Saving goes on in the background until the next call or `close`. Of several
    processes all make the same calls, with the same records; Orbax lets the first one write.
    """

    def __init__(self, directory: Path, *, keep: Keep = "all") -> None:
        """Opens or makes the folder.

        Args:
          directory: where the steps are; networks that are partway are kept beside it.
          keep: whose trained params stay on disk; see `Keep`.
        """
        check_keep(keep)
        self._directory = directory.absolute()
        self._keep: Keep = keep
        self.partway = PartwayFile(directory.with_name(f"{directory.name}-partway.npz"))
        self._checkpointer = ocp.training.Checkpointer(
            str(self._directory), cleanup_tmp_directories=True
        )
        self._origin: Origin | None = None

    def __enter__(self) -> "CheckpointStore":
        """Returns itself."""
        return self

    def __exit__(self, kind: object, *details: object) -> None:
        """Closes; what is partway is of no use any more unless something was raised."""
        self.close()
        if kind is None:
            self.partway.clear()

    def close(self) -> None:
        """Waits for what is being saved."""
        self._checkpointer.close()
        hosts.once(self._thin)

    def thin(self) -> None:
        """Drops the params that need not be kept, of what was saved until now.

        Those of a checkpoint of schema 2 stay: they are no folder of their own.
        """
        self._checkpointer.wait()
        hosts.once(self._thin)

    def _thin(self) -> None:
        if self._keep == "all":
            return
        folders = {int(p.name): p for p in self._directory.iterdir() if p.name.isdecimal()}
        holding = {step: self._metadata(step) for step, path in folders.items() if has_params(path)}
        first = {step: (m["arms"][0], m["levels"][0]) for step, m in holding.items()}
        newest = max((level for arm, level in first.values() if arm == "ticket"), default=0)
        try:
            for step, (arm, level) in first.items():
                if not keeps_params(self._keep, arm, level, newest):
                    drop(folders[step])
        except OSError as error:
            raise TicketError(
                f"--keep {self._keep}: {self._directory} cannot be written ({error.strerror}); "
                "make it a folder of yours, or keep all"
            ) from None

    def load(self, template: Template) -> tuple[Origin | None, list[Record]]:
        """Gives back what was saved, with the trees that `template` describes."""
        steps = self.steps()
        hosts.check_same(f"checkpoints in {self._checkpointer.directory}", str(steps))
        records = [self.read(step) for step in steps]
        rebuilt = [
            record._replace(
                masks=_rebuild(template.mask, record.masks),
                params=_rebuild_params(template.state.params, record.params),
                model_state=_rebuild(template.state.model_state, record.model_state),
                observed=_unnumber(template.observed, record.observed),
            )
            for record in records
        ]
        return (self._read_origin(template) if steps else None), rebuilt

    def save_origin(self, origin: Origin) -> None:
        """Keeps the origin until the first record, with which it is saved in one piece."""
        self._origin = origin

    def save(self, record: Record) -> None:
        """Saves a record as the next step, in the background."""
        self.thin()
        items: dict[str, Any] = {"record": _encode(record)}
        if self._keep == "all" or record.arms[0] == "ticket":
            # The next level of a ticket is made from it, whatever is kept in the end.
            items[PARAMS] = _encode_params(record)
        if self._origin is not None:
            items["origin"] = {
                "initial": _by_path(self._origin.initial),
                "rewound": _number(self._origin.rewound),
                "final": _number(self._origin.final),
            }
            items["origin"] = {n: part for n, part in items["origin"].items() if part}
            self._origin = None
        self._checkpointer.save_checkpointables_async(
            len(self._checkpointer.checkpoints),
            items,
            custom_metadata=_metadata(record) | {"params": PARAMS in items},
        )

    def steps(self) -> list[int]:
        """Lists what is there.

        Returns:
          Steps from 0 on.
        """
        return sorted(checkpoint.step for checkpoint in self._checkpointer.checkpoints)

    def coordinates(self) -> dict[Coordinate, tuple[int, int]]:
        """Lists the finished networks, from the metadata alone.

        Returns:
          `(step, place in the step)` by name.
        """
        found = {}
        for step in self.steps():
            metadata = self._metadata(step)
            lists = (metadata[name] for name in ("arms", "levels", "replicates", "variants"))
            names = enumerate(zip(*lists, strict=True))
            found |= {Coordinate(*name): (step, place) for place, name in names}
        return found

    def read(self, step: int) -> Record:
        """Reads one record; its trees are flat dicts by leaf path.

        Args:
          step: the Orbax step.

        Returns:
          The record, masks unpacked and pruned weights restored as zeros; `Dropped` in the place
          of params that were dropped.

        Raises:
          TicketError: if it has another schema.
        """
        metadata = self._metadata(step)
        folder = self._directory / str(step)
        there = (folder / PARAMS).is_dir()
        if metadata.get("params") and not there and not was_thinned(folder):
            raise TicketError(f"{folder}: has lost its params; restore it, or start with --fresh")
        wanted = ["record", PARAMS] if there else ["record"]
        items = self._checkpointer.load_checkpointables(step, dict.fromkeys(wanted))
        dropped = Dropped(str(self._directory.parent))
        params = items.get(PARAMS, items["record"].get(PARAMS, dropped))
        return _decode(items["record"], params, metadata)

    def _metadata(self, step: int) -> dict[str, Any]:
        metadata: Any = self._checkpointer.metadata(step).custom_metadata
        if not metadata or metadata.get("schema") not in _READABLE:
            raise TicketError(
                f"{self._checkpointer.directory}: checkpoint {step} has schema "
                f"{(metadata or {}).get('schema')}, expected {SCHEMA}; read it with the version "
                "that wrote it or start again with --fresh"
            )
        return metadata

    def initial_params(self) -> dict[str, np.ndarray]:
        """Reads the replicates' initial params by leaf path.

        Returns:
          `float[replicates, ...]` by path.
        """
        return self._checkpointer.load_checkpointables(0, {"origin": None})["origin"]["initial"]

    def _read_origin(self, template: Template) -> Origin:
        content = self._checkpointer.load_checkpointables(0, {"origin": None})["origin"]
        return Origin(
            _rebuild(template.state.params, content["initial"]),
            _unnumber(template.state, content["rewound"]),
            _unnumber(template.state, content["final"]) if "final" in content else (),
        )


def _metadata(record: Record) -> dict[str, Any]:
    masked = _by_path(record.masks)
    return {
        "schema": SCHEMA,
        "arms": list(record.arms),
        "levels": [int(level) for level in record.levels],
        "replicates": [int(replicate) for replicate in record.replicates],
        "variants": list(record.variants),
        "prunable": {path: list(leaf.shape) for path, leaf in masked.items()},
    }


def _encode(record: Record) -> dict[str, Any]:
    content = {
        "steps": np.asarray(record.steps),
        "curves": record.curves,
        "masks": masks.pack(_by_path(record.masks)),
        "model_state": _by_path(record.model_state),
        "observed": _number(record.observed),
    }
    return {name: part for name, part in content.items() if not _is_empty(part)}


def _encode_params(record: Record) -> dict[str, Any]:
    masked, params = _by_path(record.masks), _by_path(record.params)
    return masks.compress(params, {path: masked.get(path) for path in params})


def _decode(content: dict[str, Any], kept: Any, metadata: dict[str, Any]) -> Record:
    like = {
        path: jax.ShapeDtypeStruct(tuple(shape), bool)
        for path, shape in metadata["prunable"].items()
    }
    masked = masks.unpack(content["masks"], like)
    params = kept
    if not isinstance(kept, Dropped):
        params = masks.expand(kept, {path: masked.get(path) for path in kept})
    return Record(
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


def _by_path(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_string(path): leaf for path, leaf in leaves}


def _rebuild(template: Any, flat: dict[str, Any]) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[path_string(path)], template)


def _rebuild_params(template: Any, params: Any) -> Any:
    return params if isinstance(params, Dropped) else _rebuild(template, params)


def _number(tree: Any) -> dict[str, Any]:
    return {f"{i:05}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _unnumber(template: Any, flat: dict[str, Any]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(template), [flat[name] for name in sorted(flat)])


def _is_empty(part: Any) -> bool:
    return isinstance(part, dict) and not part
