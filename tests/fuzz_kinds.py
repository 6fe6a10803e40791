"""The kinds of files that are read, each made small, with how it is read and what is right."""

import fcntl
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import make_datasets
import numpy as np

from experiments import lenet
from experiments.common.command_line import parse
from experiments.common.completeness import read_summary, set_damaged_aside
from experiments.common.experiment import make_problem
from jaxticket import TicketError, data, masks, runs
from jaxticket.data import jpeg
from jaxticket.records import Template
from jaxticket.runs.locking import Lock
from jaxticket.runs.partway import PartwayFile
from jaxticket.train.steps import Training
from jaxticket.train.stopping import Watched
from jaxticket.trainer.partway import Keeping, Partway

FIXTURES = Path(__file__).parent / "fixtures"
MADE = tuple(FIXTURES / name for name in ("schema_3", "schema_3_other"))
"""A small finished run, and another one."""

WORDS = (
    *("--preset", "smoke", "--dataset", "digits", "--width", "0.02", "--replicates", "2"),
    *("--levels", "2", "--arms", "ticket", "oneshot", "--steps", "6it", "--evaluate-every", "3it"),
    *("--plan", "map"),
)


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      files: in the folder, relative, with what the same file of another run holds.
      read: `read(folder) -> what it gives`.
      less: `less(given, whole, said, gone)`, whether less than the whole was given rightly:
        whether a line said so, and whether the file was gone.
    """

    files: dict[str, bytes]
    read: Callable[[Path], Any]
    less: Callable[[Any, Any, bool, bool], bool]


@functools.cache
def config(seed: int = 0) -> Any:
    """The configuration of the small run."""
    return parse(lenet.PRESETS, "lenet", "", [*WORDS, "--seed", str(seed)])


@functools.cache
def identity() -> dict[str, str]:
    """What its checkpoints carry."""
    return {"run": f"lenet {runs.run_hash(config())}", "data": data.load("digits").sha256}


@functools.cache
def template() -> Template:
    """Of its network."""
    learner = make_problem(config(), data.load("digits")).family({})
    state = jax.eval_shape(learner.init, jax.random.key(0))
    return Template(state, jax.eval_shape(lambda: masks.ones(state.params, masks.kernels)), ())


def small(folder: Path) -> runs.RunDirectory:
    """Opens its directory, or a copy."""
    return runs.RunDirectory("lenet", config(), folder)


def copy(folder: Path) -> Path:
    return Path(shutil.copytree(MADE[0], folder))


def same(one: Any, other: Any) -> bool:
    """Compares trees to the bit, NaNs included."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


def _steps(pristine: Path, *, metadata: bool) -> Kind:
    copy(pristine)
    return Kind(_step_files(metadata), _read_steps, _is_prefix)


def _step_files(metadata: bool) -> dict[str, bytes]:
    """Pairs files by their place, as those of data are named at random."""
    lists = []
    for seed in (0, 1):
        every = sorted(path for path in (MADE[seed] / "checkpoints").rglob("*") if path.is_file())
        lists.append([path for path in every if ("/d/" in str(path)) != metadata])
    pairs = zip(lists[0], itertools.cycle(lists[1]), strict=False)
    return {str(mine.relative_to(MADE[0])): theirs.read_bytes() for mine, theirs in pairs}


def _read_steps(folder: Path) -> list[Any]:
    store = runs.CheckpointStore(folder / "checkpoints", identity(), run=folder)
    try:
        origins, records = store.load(template())
    finally:
        store.close()
    listed = lambda tree: [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]  # noqa: E731
    return [listed(origins), *((list(r.coordinates), listed(r[4:])) for r in records)]


def _unlisted(pristine: Path) -> Kind:
    """As a kill leaves them right after a checkpoint: its arrays' own checksums must tell."""
    kind = _steps(pristine, metadata=False)
    for path in pristine.rglob("sha256.json"):
        path.unlink()
    return kind


def _is_prefix(given: Any, whole: Any, said: bool, gone: bool) -> bool:
    return said and 1 < len(given) < len(whole) and same(given, whole[: len(given)])


def read_config(folder: Path) -> Any:
    """Reads what `config.json` says of the fields that the small run was made with."""
    content, made = (runs.read_json(place / "config.json") for place in (folder, MADE[0]))
    # Where it goes is no part of what it is, and fields that came later stand at their defaults.
    fields = {name: content["config"].get(name) for name in made["config"]}
    return content | {"config": fields | {"out": None}}


def _config(pristine: Path) -> Kind:
    def read(folder: Path) -> Any:
        small(folder).close()
        return read_config(folder)

    copy(pristine)
    return Kind(_foreign("config.json"), read, lambda *_: False)


def _environment(pristine: Path) -> Kind:
    def read(folder: Path) -> Any:
        run = small(folder)
        try:
            run.record_environment(data={"sha256": identity()["data"], "source": "test"})
        finally:
            run.close()
        return runs.read_json(folder / "environment.json")["starts"][:-1]

    copy(pristine)
    nothing = lambda given, whole, said, gone: said and given == []  # noqa: E731
    return Kind(_foreign("environment.json"), read, nothing)


def _last_file(name: str, read_one: Callable[..., Any]) -> Callable[[Path], Kind]:
    def read(folder: Path) -> Any:
        run = small(folder)
        try:
            return read_one(folder / name, run.name) if set_damaged_aside(run) else None
        finally:
            run.close()

    def make(pristine: Path) -> Kind:
        copy(pristine)
        return Kind(_foreign(name), read, _nothing)

    return make


def _nothing(given: Any, whole: Any, said: bool, gone: bool) -> bool:
    return given is None and (said or gone)


def _plain_results(path: Path, run: str) -> Any:
    dataset = runs.read_results(path, run)
    plain = {
        str(name): (
            one.dims,
            one.dtype.str,
            one.values.tolist() if one.dtype.kind in "OU" else np.asarray(one.values),
            dict(one.attrs),
        )
        for name, one in dataset.variables.items()
    }
    return [plain, sorted(map(str, dataset.coords)), dict(dataset.attrs)]


def _partway(pristine: Path) -> Kind:
    like = {"w": np.arange(12.0).reshape(3, 4), "count": np.arange(3)}
    networks = [{name: leaf * scale for name, leaf in like.items()} for scale in (1, 2)]

    sums = {"loss": np.array([0.25, np.nan, 2.0], np.float32)}
    losses = {"validation_loss": np.array([0.5, np.nan, 1.0], np.float32)}

    def watching(begun: Any) -> Watched:
        return Watched(losses["validation_loss"], [begun["w"].astype(np.float32)], losses)

    def keep(folder: Path, begun: Any) -> None:
        folder.mkdir()
        rows = {3: {"train_loss": np.array([0.5, np.nan, 1.0], np.float32)}}
        watched = watching(begun)
        partway = Partway("", 3, begun, begun["count"], sums, watched, rows, {0: begun})
        Keeping(PartwayFile(folder / "partway.npz"), 60.0).keep(begun, 0, partway)

    def read(folder: Path) -> Any:
        kept = Keeping(PartwayFile(folder / "partway.npz"), 60.0)
        training = Training(like, like["count"], np.zeros(0, np.int32))
        return kept.resume(networks[0], 0, lambda: (training, sums, watching(like)))

    keep(pristine, networks[0])
    other = Path(tempfile.mkdtemp()) / "other"
    keep(other, networks[1])
    # What is of other networks is ignored, and a line says only what cannot be read.
    lost = lambda given, whole, said, gone: given is None  # noqa: E731
    return Kind({"partway.npz": (other / "partway.npz").read_bytes()}, read, lost)


def _lock(pristine: Path) -> Kind:
    def read(folder: Path) -> Any:
        # Held by nobody that this process knows of, and said to be by what is in the file.
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            Lock(folder / ".lock")
        except TicketError as error:
            return "is in use by" in str(error) and "\n" not in str(error)
        finally:
            os.close(descriptor)

    pristine.mkdir()
    Lock(pristine / ".lock").close()
    return Kind({".lock": b'{"process": [1], "host": 7}'}, read, lambda *_: False)


def _data(name: str, write: Callable[[Path, int], None]) -> Callable[[Path], Kind]:
    """Files of data, read as a run reads them: with the sha256 that it began with."""

    def read(folder: Path) -> Any:
        found = data.load(name, path=folder / "data")
        run = small(folder / "data_run")
        try:
            run.record_environment(data={"sha256": found.sha256, "source": "test"})
        finally:
            run.close()
        return found.sha256

    def make(pristine: Path) -> Kind:
        write(pristine / "data", 0)
        other = Path(tempfile.mkdtemp())
        write(other / "data", 1)
        read(pristine)
        files = [path.relative_to(pristine) for path in (pristine / "data").iterdir()]
        return Kind({str(one): (other / one).read_bytes() for one in files}, read, lambda *_: False)

    return make


def _write_idx(folder: Path, seed: int) -> None:
    make_datasets.write_idx(folder, train=40 + 10 * seed)


def _write_npz(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    np.savez(
        folder / jpeg.FILE, allow_pickle=False, **make_datasets.jpeg_arrays(20 + 10 * seed, 10)
    )


def _foreign(name: str) -> dict[str, bytes]:
    return {name: (MADE[1] / name).read_bytes()}


KINDS: dict[str, Callable[[Path], Kind]] = {
    "checkpoint data": lambda pristine: _steps(pristine, metadata=False),
    "checkpoint metadata": lambda pristine: _steps(pristine, metadata=True),
    "checkpoint not listed": _unlisted,
    "partway": _partway,
    "config": _config,
    "environment": _environment,
    "summary": _last_file("summary.json", read_summary),
    "results": _last_file("results.nc", _plain_results),
    "lock": _lock,
    "idx": _data("mnist", _write_idx),
    "npz": _data("cifar10_jpeg", _write_npz),
}
