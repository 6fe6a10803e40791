"""Laws of the house: imports run one way, heavy libraries stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "jaxticket").rglob("*.py"))

FLOORS = (
    {"archives", "axes", "decompositions", "errors", "keys", "precision", "protocol", "types"},
    {"masks", "optimizers", "structure"},
    {"criteria", "allocate", "held", "isometry", "rewind"},
    {"prune", "arms", "learned_masks", "topology", "learners"},
    {"train", "population"},
    {"costs"},
    {"trainer", "records", "result"},
    {"imp", "transfer"},
)
"""Every room imports from floors below its own, or from its own."""

BESIDE = {"analysis", "data", "models", "plots", "recipes", "runs"}
"""Rooms that stand beside and never import `imp`."""

ONLY_IN = {
    "flax": "models",
    "orbax": "runs",
    "matplotlib": "plots",
    "tensorflow_datasets": "data",
    "grain": "data",
    "xarray": ("runs", "analysis", "plots"),
}


def imported(file):
    """Lists the modules a file names in imports, those for type checkers left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(file):
    relative = file.relative_to(ROOT / "jaxticket").with_suffix("")
    return relative.parts[0]


def rooms_used(file):
    for name in imported(file):
        if name.startswith("jaxticket."):
            yield name.split(".")[1]


def floor(name):
    return next((i for i, names in enumerate(FLOORS) if name in names), None)


def test_every_room_is_on_the_plan():
    found = {room(file) for file in FILES} - {"__init__"}
    assert found == set().union(*FLOORS) | BESIDE


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_run_one_way(file):
    here = room(file)
    if here == "__init__":
        return
    for used in rooms_used(file):
        assert used != "imp" or here == "imp", f"{file} imports imp"
        if here in BESIDE:
            continue
        assert used not in BESIDE, f"{file} imports {used}, which stands beside"
        if floor(used) is not None:
            assert floor(used) <= floor(here), f"{file} imports {used} from a floor above"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_imports_experiments_and_heavy_libraries_stay_in_their_rooms(file):
    for name in imported(file):
        top = name.split(".")[0]
        assert top != "experiments"
        if top in ONLY_IN:
            assert room(file) in ONLY_IN[top], f"{top} is imported in {file}"


def run_python(code):
    return subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout


def test_importing_jaxticket_imports_nothing_heavy():
    heavy = (
        "tensorflow tensorflow_datasets matplotlib flax xarray pandas orbax rich tyro scipy.stats "
        "grain"
    )
    code = (
        "import sys, jax; before = set(sys.modules); import jaxticket; "
        f"print([n for n in {heavy.split()!r} if n in sys.modules and n not in before])"
    )
    assert run_python(code).strip() == "[]"


def test_rooms_that_stand_beside_are_there_when_asked_for():
    code = "import jaxticket; print(jaxticket.data.__name__, jaxticket.runs.load.__name__)"
    assert run_python(code).split() == ["jaxticket.data", "load"]
    assert "no attribute 'nothing'" in run_python(
        "import jaxticket\ntry: jaxticket.nothing\nexcept AttributeError as e: print(e)"
    )


def test_importing_starts_no_backend():
    code = (
        "import jaxticket, experiments.lenet, jax; jax.config.update('jax_num_cpu_devices', 3); "
        "print(jax.device_count())"
    )
    assert run_python(code).strip() == "3"


def test_every_public_name_is_documented():
    missing = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in FILES
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not missing
