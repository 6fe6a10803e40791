"""Where networks in the middle of their training are kept: one Orbax step, the newest."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxticket.population import hosts
from jaxticket.population.pieces import print_note

try:
    import orbax.checkpoint.v1 as ocp  # pyright: ignore[reportMissingImports]
except ImportError:  # where the v1 API has not left its first home
    import orbax.checkpoint.experimental.v1 as ocp


class PartwayFiles:
    """Keeps one population under `directory`; see `jaxticket.trainer.Keeper`.

    Each one is written whole before the one before it goes, so a kill in between leaves one of
    them. Nothing is made before something is kept.
    """

    def __init__(self, directory: Path) -> None:
        """Names the folder.

        Args:
          directory: where.
        """
        self._directory = directory
        self._opened: Any = None

    def load(self) -> Mapping[str, Any] | None:
        """Gives back what was kept; a line says so where it cannot be read."""
        if not hosts.once(self._directory.is_dir):
            return None
        latest = self._checkpointer().latest
        if latest is None:
            return None
        try:
            facts: Any = self._checkpointer().metadata(latest.step).custom_metadata
            arrays = self._checkpointer().load_checkpointables(latest.step, {"networks": None})
        except Exception as error:  # whatever a damaged file makes Orbax raise
            print_note(
                f"{self._directory}: cannot be read ({type(error).__name__}); the networks that "
                "were in training begin again"
            )
            return None
        return {**facts, **arrays["networks"]}

    def save(self, content: dict[str, Any]) -> None:
        """Keeps a population; returns when it is safe."""
        facts = {name: part for name, part in content.items() if not isinstance(part, dict)}
        arrays = {name: part for name, part in content.items() if isinstance(part, dict) and part}
        latest = self._checkpointer().latest
        self._checkpointer().save_checkpointables(
            0 if latest is None else latest.step + 1, {"networks": arrays}, custom_metadata=facts
        )

    def close(self) -> None:
        """Waits for what is being written."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def clear(self) -> None:
        """Removes what is kept, once nothing is in training any more."""
        self.close()
        hosts.once(lambda: shutil.rmtree(self._directory, ignore_errors=True))

    def _checkpointer(self) -> Any:
        if self._opened is None:
            latest: Any = ocp.training.preservation_policies.LatestN(1)
            self._opened = ocp.training.Checkpointer(
                str(self._directory.absolute()),
                preservation_policy=latest,
                cleanup_tmp_directories=True,
            )
        return self._opened
