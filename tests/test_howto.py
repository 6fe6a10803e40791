"""Every block of docs/howto.md runs as it stands."""

import dataclasses
import io
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from experiments import lenet
from experiments.common.experiment import run

PAGE = (Path(__file__).parents[1] / "docs" / "howto.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)


def blocks(language, text=PAGE):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def reads_runs(block):
    return 'load("runs/' in block


def named_blocks():
    for part in PAGE.split("\n## ")[1:]:
        title = part.split("\n")[0]
        for place, block in enumerate(blocks("python", part)):
            marks = pytest.mark.slow if reads_runs(block) else ()
            yield pytest.param(block, id=f"{title} {place}", marks=marks)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Where the page's commands have made their runs, all but the figures."""
    folder = tmp_path_factory.mktemp("howto")
    experiment = dataclasses.replace(lenet.EXPERIMENT, draw=lambda *_: {})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("JAX_NUM_CPU_DEVICES", "8")
        for line in "".join(blocks("sh")).splitlines():
            if "--out" in line:
                words = shlex.split(line.removeprefix("python -m experiments.lenet"))
                run(experiment, [*words, *shlex.split(QUICK)], Console(file=io.StringIO()))
    return folder


QUICK = "--plan map --width 0.1 --steps 4it --evaluate-every 2it --arms ticket reinit"


@pytest.mark.parametrize("block", list(named_blocks()))
def test_a_block_runs_as_it_stands(block, request, tmp_path, monkeypatch):
    monkeypatch.chdir(request.getfixturevalue("finished") if reads_runs(block) else tmp_path)
    # The devices of this process are the tests'.
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "8")
    exec(compile(block, "docs/howto.md", "exec"), {"__name__": "howto"})


def test_links_to_headings_and_pages_exist():
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in HEADINGS}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        if link.startswith("#"):
            assert link[1:] in anchors
        elif not link.startswith("https:"):
            assert (Path(__file__).parents[1] / "docs" / link).exists()
