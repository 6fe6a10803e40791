"""Laws of bad input: one line that says what is wrong, and nothing is written."""

import dataclasses
import importlib
import io
import os

import bad_calls
import bad_command_lines
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from experiments import lenet
from experiments.__main__ import questions
from experiments.common.command_line import parse
from experiments.common.configuration import check_configuration
from jaxticket import TicketError

LONGEST = 600


SMALL = {"--preset": "smoke", "--plan": "map"}


def run(name, *words):
    module = importlib.import_module(f"experiments.{name}")
    small = [word for option in SMALL.items() if option[0] not in words for word in option]
    return module.main([*small, *words], Console(file=io.StringIO(), width=130))


def check_line(error):
    message = str(error)
    assert "\n" not in message
    assert 10 < len(message) < LONGEST, message


def test_there_are_as_many_rows_as_promised():
    assert len(bad_command_lines.ROWS) + len(bad_calls.ROWS) >= 200
    assert {name for name, _, _ in bad_command_lines.ROWS} >= {*questions()} - {"report"}


@pytest.mark.parametrize(
    ("name", "words", "message"),
    bad_command_lines.ROWS,
    ids=[" ".join((name, *words)) for name, words, _ in bad_command_lines.ROWS],
)
def test_a_bad_command_line_is_one_line_and_nothing_is_written(
    name, words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(TicketError, match=message) as caught:
        run(name, *words)
    check_line(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [row[1:] for row in bad_calls.ROWS],
    ids=[row[0] for row in bad_calls.ROWS],
)
@pytest.mark.usefixtures("unchecked")
def test_a_bad_call_is_one_line(call, message):
    with pytest.raises(TicketError, match=message) as caught:
        call()
    check_line(caught.value)


TEXTS = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", " ", "0", "-1", "1e999", "0x10", "1_0", "½", "\u0660", "it", "ep"]),
)
OPTIONS = st.sampled_from(
    [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(lenet.DEFAULT)]
)


@given(option=OPTIONS, values=st.lists(TEXTS, max_size=2))
def test_any_value_of_any_option_is_taken_or_refused_in_one_line(option, values):
    values = [value for value in values if value not in ("-h", "--help")]
    try:
        config = parse(lenet.PRESETS, "prog", "", ["--preset", "smoke", option, *values])
        check_configuration(config)
        lenet.EXPERIMENT.check(config)
    except TicketError as error:
        check_line(error)
