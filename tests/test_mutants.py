"""Laws of the faults that are put into code: they are real, drawn fairly, and tried."""

import ast
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray")
pytest.importorskip("coverage")

from mutants.__main__ import PACKAGES, files
from mutants.drawing import draw, mutants, statement
from mutants.trying import Suite, attempt

ROOT = Path(__file__).parents[1]
CODE = """
def share(part: int | None, whole: int = 2) -> float | None:
    if part is None:
        return None
    total = whole + (
        0
    )
    return part / total

def unused(x):
    return x + 1
"""
TEST = """
from code_of import share

def test_share():
    assert share(1) == 0.5
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "code_of.py").write_text(CODE)
    (tmp_path / "test_code.py").write_text(TEST)
    return tmp_path


def test_every_fault_is_another_program_and_none_is_in_an_annotation(project):
    found = list(mutants(project, "code_of.py"))
    assert {mutant.line for mutant in found} == {2, 3, 5, 6, 8, 11}
    assert all(mutant.column > 28 for mutant in found if mutant.line == 2)
    for mutant in found:
        assert ast.dump(ast.parse(mutant.source(project))) != ast.dump(ast.parse(CODE)), mutant


def test_places_are_drawn_once_each_and_again_by_the_seed(project):
    places = {mutant[:3] for mutant in mutants(project, "code_of.py")}
    drawn = draw(project, ["code_of.py"], 1_000, seed=0)
    assert len(drawn) == len(places)
    assert {mutant[:3] for mutant in drawn} == places
    assert draw(project, ["code_of.py"], 3, seed=0) == drawn[:3]
    assert draw(project, ["code_of.py"], 1_000, seed=1) != drawn


def test_a_line_belongs_to_its_statement_and_not_to_the_block_around_it():
    assert statement(CODE, 3) == range(3, 4)
    assert statement(CODE, 6) == range(5, 8)
    assert statement(CODE, 2) == range(2, 3)


@pytest.mark.slow
def test_a_fault_that_a_test_sees_is_killed_and_another_survives(project):
    name = "test_code.py::test_share"
    tests = Suite({name: 0.1}, {"code_of.py": {3: {name}, 5: {name}, 8: {name}}})
    faults = {mutant.line: mutant for mutant in mutants(project, "code_of.py")}
    assert attempt(project, faults[8], tests, 5).outcome == "killed"
    assert attempt(project, faults[11], tests, 5).outcome == "survived"
    assert attempt(project, faults[8], Suite({name: 0.1}, {}), 5).outcome == "not run"
    assert (project / "code_of.py").read_text() == CODE


def test_the_quickest_tests_go_first_and_at_least_one():
    tests = Suite({"a": 3.0, "b": 1.0, "c": 2.0}, {})
    assert tests.within("abc", 3.5) == ["b", "c"]
    assert tests.within("a", 1) == ["a"]


def test_what_decides_results_is_what_is_broken():
    found = files(PACKAGES)
    assert len(found) == len(set(found)) > 30
    assert all((ROOT / path).is_file() for path in found)
    assert "jaxticket/masks/basic.py" in found
