"""Finished networks as Orbax checkpoints, kept as soon as they are finished."""

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxticket.errors import TicketError
from jaxticket.population import hosts
from jaxticket.population.pieces import print_note
from jaxticket.records import Origin, Record, Template
from jaxticket.runs.empty import take_out
from jaxticket.runs.encoding import ORIGIN, describe, encode, encode_origin, encode_params
from jaxticket.runs.files import DamagedError, check_room, set_aside, unwritable
from jaxticket.runs.manifest import MANIFEST, write_manifest
from jaxticket.runs.partway import PartwayFile
from jaxticket.runs.reader import CheckpointReader
from jaxticket.runs.sealing import seal
from jaxticket.runs.shelf import Shelf, allow_files
from jaxticket.runs.steps import ocp
from jaxticket.runs.thinning import PARAMS, Keep, check_keep, drop, going_params, has_params

_SMALL_FILES = 2**18
"""Bytes that a step takes beside its arrays: some twenty files, most of one block."""


class CheckpointStore(CheckpointReader):
    """Keeps records under `directory`, one Orbax step a record, in the order of saving.

    Of each group of replicates the ticket's levels come one after the other, then the chunks of its
    controls. Each step describes itself: leaves are named by their path, and the metadata
    hold coordinates, shapes, and checksums of every leaf and of the step before. Saving goes on in
    the background until the next call or `close`. Of several processes all make the same calls,
    with the same records; Orbax lets the first one write.
    """

    def __init__(
        self,
        directory: str | Path,
        identity: Mapping[str, str] | None = None,
        *,
        run: Path | None = None,
        keep: Keep = "all",
        held_bytes: float | None = None,
    ) -> None:
        """Names the folder; it is made when a search asks for what is there.

        Args:
          directory: where the steps are; networks that are partway are kept beside it.
          identity: what the steps of a run have in common, such as its hash and its data's.
          run: the run directory, whose `set-aside` takes what is damaged; `None` to refuse it.
          keep: whose trained params stay on disk; see `Keep`.
          held_bytes: of finished networks in memory, beyond which they are mapped from the disk;
            `shelf.held_bytes()` if `None`.

        Raises:
          TicketError: for an unknown `keep`.
        """
        check_keep(keep)
        allow_files()
        folder = Path(directory)
        self._shelf = Shelf(folder.parent, held_bytes)
        super().__init__(directory, identity, self._shelf.put)
        partway = folder.with_name(f"{folder.name}-partway.npz")
        self.partway: PartwayFile = PartwayFile(partway)
        self._run = run
        self._keep: Keep = keep
        self._opened: Any = None
        self._next, self._last = 0, ""
        self._origin: Origin | None = None

    def __enter__(self) -> "CheckpointStore":
        """Returns itself."""
        return self

    def __exit__(self, kind: object, *details: object) -> None:
        """Closes; what is partway is of no use any more unless something was raised."""
        if kind is not None:
            # What was raised is what to tell of; a full disk would only be told of again.
            with contextlib.suppress(TicketError):
                self.close()
            return
        self.close()
        self.partway.clear()

    def close(self) -> None:
        """Waits for what is being saved.

        Raises:
          StorageError: if it could not be written.
        """
        if self._opened is not None:
            opened, self._opened = self._opened, None
            with self._writing():
                opened.close()
            self._write_manifests()
        self.thin()

    def thin(self) -> None:
        """Drops the params that need not be kept, of what was saved until now.

        Those of a checkpoint of schema 2 stay: they are no folder of their own.

        Raises:
          StorageError: if they cannot be removed.
        """
        if self._keep == "all":
            return
        every = [step for step in self.steps() if has_params(self._steps.path(step))]
        said = {step: self._steps.metadata(step) for step in every}
        going = going_params(self._keep, said)

        def drop_all() -> None:
            with self._writing():
                for step in going:
                    drop(self._steps.path(step))

        hosts.once(drop_all)

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Gives back what was saved, with the trees that `template` describes.

        A step that is damaged, missing or of something else is set aside, with those behind it,
        and a line says so: they will be made again from those before it.

        Args:
          template: of one network.

        Returns:
          The origins, one a group of replicates, and the records, in the order of saving.

        Raises:
          TicketError: if that would leave nothing of what was there.
        """
        origins, records, fault = self.load_whole(template)
        if fault is not None:
            self._set_aside(fault, self.steps()[len(records) :], len(records))
        if records and hosts.is_primary() and not self._steps.is_sealed(0):
            print_note(
                f"{self._steps.directory}: was begun by an older version, whose checkpoints carry "
                "no checksums, so damage in them may not be seen"
            )
        self._open()
        self._write_manifests()
        return origins, records

    def save_origin(self, origin: Origin) -> Origin:
        """Keeps the origin until the next record, with which it is saved in one piece.

        Returns:
          The origin, mapped where the memory would not hold it.
        """
        self._origin = shelved = self._shelf.put(origin)
        return shelved

    def save(self, record: Record) -> Record:
        """Saves a record as the next step, in the background.

        Returns:
          The record, mapped where the memory would not hold it with those before.

        Raises:
          StorageError: if it, or the one before, cannot be written.
        """
        checkpointer = self._open()
        items: dict[str, Any] = {"record": encode(record)}
        if self._keep == "all" or record.arms[0] == "ticket":
            # The next level of a ticket is made from it, whatever is kept in the end.
            items[PARAMS] = encode_params(record)
        if self._origin is not None:
            items[ORIGIN] = encode_origin(self._origin)
        described = describe(record)
        held, taken = take_out(items)
        if taken:
            described["empty"] = taken
        metadata = seal(described, items, self._next, self._last, self._steps.identity)
        with self._writing():
            checkpointer.wait()
            self._write_manifests()
            self.thin()
            # Orbax, refused in the background, waits for minutes for what will not come.
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(held))
            hosts.once(lambda: self._check_room(size + _SMALL_FILES))
            checkpointer.save_checkpointables_async(self._next, held, custom_metadata=metadata)
        self._origin = None
        self._next, self._last = self._next + 1, metadata["sha256"]
        return self._shelf.put(record)

    def _open(self) -> Any:
        """Makes the folder, and removes what a kill left half written."""
        if self._opened is None:
            with self._writing():
                self._opened = ocp.training.Checkpointer(
                    str(self._steps.directory.absolute()), cleanup_tmp_directories=True
                )
            numbers = self.steps()
            self._next = len(numbers)
            self._last = self._steps.metadata(numbers[-1]).get("sha256", "") if numbers else ""
        return self._opened

    def _set_aside(self, fault: DamagedError, numbers: list[int], whole: int) -> None:
        if self._run is None:
            raise fault
        if not whole:
            raise TicketError(
                f"{fault.said}, and no checkpoint stands before it; restore it, or start again "
                f"with --fresh, which discards the {len(numbers)} checkpoints that are there"
            )
        run, paths = self._run, [self._steps.path(number) for number in numbers]
        folder = hosts.once(lambda: str(set_aside(run, *paths)))
        if hosts.is_primary():
            print_note(
                f"{fault.said}: set aside with all behind it ({len(numbers)} checkpoints, in "
                f"{folder}); going on from checkpoint {whole - 1}"
            )

    def _write_manifests(self) -> None:
        """Writes down the files of what is committed; of older versions', from now on."""
        every = [self._steps.path(number) for number in self.steps()]
        new = [path for path in every if not (path / MANIFEST).is_file()]
        hosts.once(lambda: [write_manifest(path) for path in new] and None)

    def _check_room(self, size: int) -> None:
        with self._writing():
            check_room(self._steps.directory, size)

    @contextlib.contextmanager
    def _writing(self) -> Generator[None]:
        """Says in one line what Orbax and TensorStore raise where nothing can be written."""
        try:
            yield
        except OSError as error:
            raise unwritable(self._steps.directory, error) from None
