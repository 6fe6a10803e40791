"""Finished networks, read from the checkpoints of a run; nothing there is changed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxticket.population import hosts
from jaxticket.records import Coordinate, Dropped, Origin, Record, Template
from jaxticket.runs.encoding import ORIGIN, decode, has_origin, rebuild, rebuild_origin
from jaxticket.runs.files import DamagedError
from jaxticket.runs.steps import Steps, damaged
from jaxticket.runs.thinning import PARAMS

MISFIT = (ValueError, KeyError, TypeError, AttributeError)
"""What arrays raise that are not of the form that the step describes."""


class CheckpointReader:
    """Reads what a `CheckpointStore` has kept, and believes nothing that is not what was kept."""

    def __init__(
        self,
        directory: str | Path,
        identity: Mapping[str, str] | None = None,
        put: Callable[[Any], Any] = lambda tree: tree,
    ) -> None:
        """Names the folder; it is read when something is asked for.

        Args:
          directory: where the steps are.
          identity: what they must have in common with the run, by name.
          put: takes what is loaded piece by piece, and gives back the same, such as `Shelf.put`.
        """
        self._steps, self._put = Steps(Path(directory), identity), put

    def steps(self) -> list[int]:
        """Lists what is there.

        Returns:
          Steps from 0 on.
        """
        return self._steps.numbers()

    def coordinates(self) -> dict[Coordinate, tuple[int, int]]:
        """Lists the finished networks, from the metadata alone.

        Returns:
          `(step, place in the step)` by name.

        Raises:
          TicketError: naming the first step whose metadata are damaged.
        """
        found = {}
        for step in self.steps():
            metadata = self._steps.metadata(step)
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
          TicketError: if it is damaged or has another schema.
        """
        metadata, content = self._steps.read(step, "record", PARAMS)
        return self._decode(step, metadata, content)

    def initial_params(self, step: int = 0) -> dict[str, np.ndarray]:
        """Reads initial params by leaf path.

        Args:
          step: of dense networks.

        Returns:
          `float[P, ...]` by path, of the networks of the step.

        Raises:
          TicketError: if they are damaged.
        """
        return self._steps.read(step, ORIGIN)[1][ORIGIN]["initial"]

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Gives back what was saved, with the trees that `template` describes.

        Args:
          template: of one network.

        Returns:
          The origins, one a group of replicates, and the records, in the order of saving.

        Raises:
          TicketError: naming the first step that is damaged, missing or of something else.
        """
        origins, records, fault = self.load_whole(template)
        if fault is not None:
            raise fault
        return origins, records

    def load_whole(
        self, template: Template
    ) -> tuple[list[Origin], list[Record], DamagedError | None]:
        """Gives back what was saved, up to the first step that is not what was saved.

        Every step depends on those before it: controls on the masks of the tickets, a level on
        the one before. So what stands behind a damaged one is not used.

        Args:
          template: of one network.

        Returns:
          The origins, the records and what is wrong with the step after them, if anything is.

        Raises:
          TicketError: in every process, if one of several reads something else.
        """
        origins, records, fault, after = [], [], None, ""
        numbers = self.steps()
        for place, number in enumerate(numbers):
            try:
                if number != place:
                    raise damaged(self._steps.path(place), f"is missing, {number} is there")
                found, record, after = self._load_one(place, after, template)
            except DamagedError as error:
                fault = error
                break
            origins += [] if found is None else [self._put(found)]
            records.append(self._put(record))
        said = f"{numbers}, {len(records)} of them whole"
        hosts.check_same(f"checkpoints in {self._steps.directory}", said)
        return origins, records, fault

    def _load_one(
        self, number: int, after: str, template: Template
    ) -> tuple[Origin | None, Record, str]:
        metadata, content = self._steps.read(number, "record", PARAMS, ORIGIN)
        # A step of an older version, which carries no checksum, stands behind none of this one.
        if metadata.get("after", "") != after:
            raise damaged(self._steps.path(number), "was saved behind another step")
        if number == 0 and not has_origin(metadata):
            raise damaged(
                self._steps.path(number), "holds no dense networks, as the first one does"
            )
        record = self._decode(number, metadata, content)
        try:
            origin = rebuild_origin(content[ORIGIN], template) if has_origin(metadata) else None
            return origin, rebuild(record, template), metadata.get("sha256", "")
        except MISFIT as error:
            raise damaged(self._steps.path(number), f"does not fit: {error}") from None

    def _decode(self, step: int, metadata: dict[str, Any], content: dict[str, Any]) -> Record:
        try:
            # Schema 2 had the params among the record.
            dropped = Dropped(str(self._steps.directory.parent))
            params = content.get(PARAMS, content["record"].get(PARAMS, dropped))
            return decode(content["record"], params, metadata)
        except MISFIT as error:
            raise damaged(self._steps.path(step), f"contradicts itself: {error}") from None
