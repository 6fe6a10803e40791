"""The report shows what run directories say, all of it, the same way every time."""

import dataclasses
import importlib
import io
import shlex
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments import lenet, report
from experiments.__main__ import questions
from experiments.common import listing
from experiments.common.command_line import parse, run_main
from experiments.common.finished import options, read_finished
from jaxticket import TicketError, plots, runs

PIXEL = b"\x89PNG, as far as a copy can tell"


@dataclasses.dataclass(frozen=True)
class Config:
    levels: int = 3
    rate: float = 0.2
    name: str = "digits"
    moments: bool = False
    warm: bool = True
    arms: tuple[str, ...] = ("ticket", "reinit")
    part: float | None = None
    preset: str = dataclasses.field(default="default", metadata={"science": False})
    out: Path | None = dataclasses.field(default=None, metadata={"science": False})


PRESETS = {"default": Config(), "smoke": Config(preset="smoke", levels=2)}
DOCSTRING = """Do {} networks learn? Perhaps.

Paper: Someone & Other, "On Learning",
2020, section 2.

Command: none.
"""
START = {
    "packages": {"jax": "0.10.2"},
    "machine": {"system": "Linux", "cores": 2},
    "devices": {"platform": "cpu", "kind": "cpu", "count": 2, "processes": 1},
    "data": {"name": "digits", "source": "embedded", "sha256": "0123456789abcdef" * 4},
    "plan": "map on 2 device(s)",
}
HOLDS = {
    "id": "learns",
    "statement": "loss | mask is lower",
    "source": "Someone 2020",
    "paper": "2.9 %",
    "expected": "interval above 0",
    "exact": False,
    "measured": 0.123456,
    "interval": [0.01, 0.0222222],
    "replicates": 5,
    "holds": True,
}
CORRECTED = {"p_value": 0.0321, "p_value_corrected": 0.0642, "holds_corrected": False}
FAILS = HOLDS | {"id": "falls", "statement": "it falls", "measured": -0.5, "holds": False}
UNDECIDED = HOLDS | {
    "id": "stops",
    "statement": "it stops",
    "paper": None,
    "measured": "not computable: needs 5 levels",
    "interval": None,
    "holds": None,
}


@pytest.fixture(autouse=True)
def experiments(monkeypatch):
    """Two experiments that are no files."""
    for name in ("alpha", "beta"):
        module = types.ModuleType(f"experiments.{name}", DOCSTRING.format(name))
        module.PRESETS = PRESETS
        monkeypatch.setitem(sys.modules, f"experiments.{name}", module)


def make_results(replicates=5):
    shape = (2, 3, replicates)
    dims = ("arm", "level", "replicate")
    accuracy = np.broadcast_to(np.array([0.5, 0.75], np.float32), (*shape, 2))
    return xarray.Dataset(
        {
            "test_accuracy": ((*dims, "step"), accuracy),
            "early_stop_step": (dims, np.full(shape, 10)),
            "valid": (dims, np.ones(shape, bool)),
        },
        coords={
            "arm": ["ticket", "reinit"],
            "step": [0, 10],
            "density": ("level", [1, 0.8, 0.64]),
        },
    )


def make_run(
    path,
    experiment="beta",
    config=PRESETS["default"],
    claims=(HOLDS,),
    starts=(START,),
    results=None,
    figures=("tickets",),
    **summary,
):
    """Writes a run directory by the functions that runs write theirs by."""
    directory = runs.RunDirectory(experiment, config, path)
    runs.write_json(path / "environment.json", {"starts": list(starts)})
    runs.write_results(directory.results, make_results() if results is None else results)
    directory.figures.mkdir()
    for name in figures:
        (directory.figures / f"{name}.png").write_bytes(PIXEL + name.encode())
    content = {"experiment": experiment, "seconds": 1234.56, "claims": list(claims)}
    runs.write_json(directory.summary, content | summary)
    return path


def write(tmp_path, *paths):
    """Makes the report; gives its text, its images by name and what was printed."""
    console = Console(file=io.StringIO(), width=1_000)
    out, images = tmp_path / "docs" / "results.md", tmp_path / "docs" / "images"
    words = [*map(str, paths), "--out", str(out), "--images", str(images)]
    assert report.main(words, console) == 0
    copies = {image.name: image.read_bytes() for image in images.glob("*")}
    return out.read_text(encoding="utf-8"), copies, console.file.getvalue()


def section(text, title):
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


WHOLE = r"""
Do beta networks learn? Perhaps.

- Paper: Someone & Other, "On Learning", 2020, section 2.
- Command: `python -m experiments.beta --preset smoke --rate 0.5 --moments --no-warm`
- Machine: 2 cores; jax 0.10.2; plan: map on 2 device(s)
- Data: digits, sha256 0123456789ab
- Replicates: 5
- Time: 1,234.6 s

| claim | source | the paper | expected | measured | 95 % interval | p (corrected) | holds |
| --- | --- | --- | --- | --- | --- | --- | --- |
| loss \| mask is lower | Someone 2020 | 2.9 % | interval above 0 | 0.1235 | 0.01 to 0.02222 | \
0.032 (0.064) | yes, **not corrected** |
| it falls | Someone 2020 | 2.9 % | interval above 0 | -0.5 | 0.01 to 0.02222 | — | **no** |
| it stops | Someone 2020 | — | interval above 0 | not computable: needs 5 levels | — | — | \
undecided |

Failed: it falls. Measured -0.5, 95 % interval 0.01 to 0.02222; expected interval above 0. Tried: \
two rates

Note: a \| b

![beta: tickets](images/beta_tickets.png)

<details><summary>test accuracy at early stop, % ± 95 % interval @ early-stop step</summary>

| density | ticket | reinit |
| ---: | ---: | ---: |
| 100.00% | 75.0±0.0 @10 | dense |
| 80.00% | 75.0±0.0 @10 | 75.0±0.0 @10 |
| 64.00% | 75.0±0.0 @10 | 75.0±0.0 @10 |

</details>
""".replace("\\\n", "")


def test_a_section_is_these_lines(tmp_path):
    config = dataclasses.replace(
        PRESETS["smoke"], rate=0.5, moments=True, warm=False, out=Path("/x")
    )
    # The others are as a version without p values wrote them.
    claims = (HOLDS | CORRECTED, FAILS | {"tried": "two rates"}, UNDECIDED)
    run = make_run(tmp_path / "run", config=config, claims=claims, notes=["a | b"])
    text, images, printed = write(tmp_path, run)
    assert section(text, "beta") == WHOLE
    assert images == {"beta_tickets.png": PIXEL + b"tickets"}
    assert printed.endswith("1 run; 1 claims hold, 1 fail, 1 are undecided\n")


def test_the_overview_counts_verdicts_in_the_order_of_names(tmp_path):
    second = make_run(tmp_path / "1", "beta", claims=(HOLDS, HOLDS, FAILS, UNDECIDED))
    first = make_run(tmp_path / "2", "alpha", results=make_results(2))
    lines = write(tmp_path, second, first)[0].splitlines()
    start = lines.index("| experiment | hold | fail | undecided | replicates | seconds | machine |")
    assert lines[start + 1 : start + 6] == [
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        "| [alpha](#alpha) | 1 | 0 | 0 | 2 | 1,235 | 2 cores |",
        "| [beta](#beta) | 2 | **1** | 1 | 5 | 1,235 | 2 cores |",
        "",
        "In all: 3 hold, 1 fail, 1 are undecided.",
    ]
    assert [line for line in lines if line.startswith("## ")] == ["## alpha", "## beta"]
    assert "- Replicates: 2, fewer than the 5 of a default run" in lines


def test_the_same_runs_in_any_order_and_place_give_the_same_bytes(tmp_path):
    one = make_run(tmp_path / "one", "beta")
    other = make_run(tmp_path / "other", "alpha")
    text, images, _ = write(tmp_path, one, other)
    moved = shutil.copytree(one, tmp_path / "elsewhere" / "run")
    again, images_again, _ = write(tmp_path, other, moved)
    assert (again, images_again) == (text, images)
    folders = [f"runs/{run.experiment}/{run.hash}" for run in map(read_finished, (other, one))]
    assert f"\npython -m experiments.report {' '.join(folders)} --out " in text


@pytest.mark.parametrize(
    ("words", "out", "link"),
    [
        ("", "results.md", "images/beta_tickets.png"),
        (
            "--out docs/results.md --images docs/images",
            "docs/results.md",
            "images/beta_tickets.png",
        ),
        ("--out docs/all.md", "docs/all.md", "../images/beta_tickets.png"),
        ("--images docs/images", "results.md", "docs/images/beta_tickets.png"),
    ],
)
def test_the_report_is_written_here_unless_told_and_says_how(
    words, out, link, tmp_path, monkeypatch
):
    run = make_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert report.main([str(run), *words.split()], Console(file=io.StringIO())) == 0
    text = Path(out).read_text(encoding="utf-8")
    command = f"python -m experiments.report runs/beta/{read_finished(run).hash} {words}"
    assert f"\n{command.strip()}\n" in text
    assert f"![beta: tickets]({link})" in text
    assert (Path(out).parent / link).read_bytes() == PIXEL + b"tickets"
    written = {path for path in tmp_path.rglob("*") if path.is_file() and run not in path.parents}
    assert len(written) == 2


def test_runs_of_one_experiment_are_told_apart_by_preset_or_hash_and_the_default_is_first(tmp_path):
    other = dataclasses.replace(PRESETS["smoke"], rate=0.5)
    configs = {"": PRESETS["default"], "smoke": PRESETS["smoke"], runs.run_hash(other): other}
    paths = [
        make_run(tmp_path / f"run{name}", config=config, figures=("beta",))
        for name, config in configs.items()
    ]
    text, images, _ = write(tmp_path, *paths[::-1])
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["beta", *(f"beta ({name})" for name in list(configs)[1:])]
    for name, title in zip(configs, titles, strict=True):
        prefix = f"beta_{name}" if name else "beta"
        assert f"[{title}](#{prefix.replace('_', '-')})" in text
        assert f"(images/{prefix}_beta.png)" in section(text, title)
        assert f"{prefix}_beta.png" in images


@pytest.mark.parametrize(
    ("drawn", "listed", "shown"),
    [
        (("beta", "other", "tickets"), [], ["beta_tickets.png", "beta_beta.png"]),
        (("other", "tickets"), ["other", "tickets"], ["beta_other.png"]),
        (("other",), ["other.png"], ["beta_other.png"]),
        (("other",), [], []),
    ],
)
def test_the_main_figures_are_copied_and_shown(drawn, listed, shown, tmp_path):
    run = make_run(tmp_path / "run", figures=drawn)
    summary = runs.read_json(run / "summary.json")
    runs.write_json(run / "summary.json", summary | {"figures": listed})
    text, images, _ = write(tmp_path, run)
    assert set(images) == set(shown)
    places = [text.index(f"](images/{name})") for name in shown]
    assert places == sorted(places)
    assert text.count("![") == len(shown)


def test_two_figures_of_a_sweep_are_shown(tmp_path):
    swept = xarray.concat([make_results()] * 2, "variant").assign_coords(variant=["one", "two"])
    run = make_run(tmp_path / "run", figures=("a", "b", "c"), results=swept)
    summary = runs.read_json(run / "summary.json")
    runs.write_json(run / "summary.json", summary | {"figures": ["c", "a", "b"]})
    text, images, _ = write(tmp_path, run)
    assert set(images) == {"beta_c.png", "beta_a.png"}
    assert text.index("images/beta_c.png") < text.index("images/beta_a.png")


def test_what_was_tried_is_the_claims_else_the_runs_else_missed(tmp_path):
    claims = (FAILS | {"tried": "two rates"}, FAILS, FAILS)
    lines = write(tmp_path, make_run(tmp_path / "1", claims=claims, tried="five seeds"))[0]
    assert lines.count("Tried: two rates\n") == 1
    assert lines.count("Tried: five seeds\n") == 2
    bare = write(tmp_path, make_run(tmp_path / "2", claims=(FAILS,)))[0]
    assert "Tried: nothing is recorded.\n" in bare


def test_what_a_module_tried_is_told_of_its_default_run_alone(tmp_path):
    sys.modules["experiments.beta"].TRIED = {"falls": "another rate"}
    other = make_run(tmp_path / "1", config=Config(levels=4), claims=(FAILS,))
    usual = make_run(tmp_path / "2", claims=(FAILS,))
    assert "Tried: another rate\n" in write(tmp_path, usual)[0]
    assert "Tried: nothing is recorded.\n" in write(tmp_path, other)[0]


def test_a_resumed_run_names_its_machines_and_whose_time_it_is(tmp_path):
    gpu = {"platform": "gpu", "kind": "NVIDIA H100", "count": 1, "processes": 1}
    later = START | {
        "devices": gpu,
        "machine": {"cores": 16, "processor": "Xeon"},
        "date": "2026-11-22T03:04:05",
    }
    costs = {
        "seconds": {"compile": 10.0, "train": 2.04, "prune": 0.01},
        "networks": 4,
        "network_steps": 100,
        "network_steps_a_second": 50.0,
        "networks_an_hour": 7200.0,
        "flops_a_step": None,
        "flops_a_second": None,
        "share_of_limit": None,
        "peak_memory_bytes": None,
        "notes": ["noted"],
    }
    diverged = [{"arm": "ticket", "level": 2, "replicate": 0, "step": 50}]
    run = make_run(tmp_path / "1", starts=(START, START, later), costs=costs, diverged=diverged)
    text = write(tmp_path, run)[0]
    assert "| 2 cores; then 1 x NVIDIA H100, 16 cores, Xeon |" in text
    assert (
        "\n- Machine: 2 cores; jax 0.10.2; plan: map on 2 device(s); then 1 x NVIDIA H100, "
        "16 cores, Xeon; jax 0.10.2; plan: map on 2 device(s); 2026-11-22\n"
    ) in text
    assert (
        "\n- Time: 1,234.6 s in the last of 3 starts, which went on from the others: "
        "compile 10.0, train 2.0\n"
        "- Work: 4 networks, 100 network-steps at 50 a second; 7,200 networks an hour\n"
        "- noted\n"
        "- Diverged: the loss of 1 network is not finite: ticket level 2 replicate 0 at step 50;"
    ) in text


def spoil_nothing(path):
    shutil.rmtree(path)


def spoil_summary(path):
    (path / "summary.json").unlink()


def spoil_json(path):
    (path / "summary.json").write_text('{"claims": [')


def spoil_claim(path):
    summary = runs.read_json(path / "summary.json")
    del summary["claims"][0]["holds"]
    runs.write_json(path / "summary.json", summary)


def spoil_verdict(path):
    summary = runs.read_json(path / "summary.json")
    summary["claims"][0]["holds"] = "maybe"
    runs.write_json(path / "summary.json", summary)


def spoil_costs(path):
    summary = runs.read_json(path / "summary.json")
    runs.write_json(path / "summary.json", summary | {"costs": {"seconds": {}}})


def spoil_results(path):
    content = (path / "results.nc").read_bytes()
    (path / "results.nc").write_bytes(content[: len(content) // 2])


def spoil_environment(path):
    runs.write_json(path / "environment.json", {"starts": [{"machine": {}}]})


def spoil_figure(path):
    summary = runs.read_json(path / "summary.json")
    runs.write_json(path / "summary.json", summary | {"figures": ["gone"]})


def change_config(path, **changes):
    content = runs.read_json(path / "config.json")
    runs.write_json(path / "config.json", content | changes)


SPOILED = {
    "nothing": (spoil_nothing, r"run: is no run directory \(no config.json\), expected one such"),
    "unfinished": (spoil_summary, r"run: has not finished \(no summary.json\); rerun its command"),
    "json": (spoil_json, r"run/summary.json: cannot be read \(JSONDecodeError"),
    "claim": (spoil_claim, r"run/summary.json: claims\[0\] has no holds; restore"),
    "verdict": (spoil_verdict, r"run/summary.json: holds is 'maybe', expected true, false or null"),
    "costs": (spoil_costs, r"run/summary.json: costs has no networks and network_steps"),
    "results": (spoil_results, r"run/results.nc: cannot be read"),
    "environment": (spoil_environment, r"environment.json: starts\[0\] has no devices and"),
    "figure": (spoil_figure, r"run/figures/gone.png: not there, but summary.json lists it"),
    "experiment": (
        lambda path: change_config(path, experiment="gamma"),
        r"run: belongs to 'gamma', which is no experiment here; python -m experiments lists",
    ),
    "no experiment": (
        lambda path: change_config(path, experiment="common"),
        r"run: belongs to 'common', which is no experiment here",
    ),
    "a path": (
        lambda path: change_config(path, experiment="../beta"),
        r"run: belongs to '../beta', which is no experiment here",
    ),
    "preset": (
        lambda path: change_config(path, config={"preset": "smok"}),
        r"run: unknown preset 'smok': did you mean 'smoke'\?",
    ),
    "option": (
        lambda path: change_config(path, config={"width": 3, "depth": 2}),
        r"run: has options that experiments.beta does not know \(depth, width\)",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_a_run_that_is_not_whole_is_named_in_one_line_and_nothing_is_written(
    spoil, message, tmp_path
):
    spoil(make_run(tmp_path / "run"))
    with pytest.raises(TicketError, match=message) as caught:
        write(tmp_path, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "docs").exists()


def test_all_runs_that_are_not_whole_are_listed_at_once(tmp_path):
    good, bad = make_run(tmp_path / "good"), make_run(tmp_path / "bad")
    spoil_summary(bad)
    with pytest.raises(TicketError, match=r"none: is no run directory.*; .*bad: has not finished"):
        write(tmp_path, tmp_path / "none", good, bad)


def test_the_same_run_twice_is_refused(tmp_path):
    paths = make_run(tmp_path / "1"), make_run(tmp_path / "2")
    with pytest.raises(TicketError, match=r"1 and .*2: are the same configuration of beta"):
        write(tmp_path, *paths)


def test_the_same_run_by_another_command_is_refused(tmp_path):
    same = dataclasses.replace(PRESETS["smoke"], preset="default")
    between = dataclasses.replace(same, rate=0.5)
    configs = {"1": same, "2": between, "3": PRESETS["smoke"]}
    paths = [make_run(tmp_path / name, config=config) for name, config in configs.items()]
    with pytest.raises(TicketError, match=r"1 and .*3: are the same configuration of beta"):
        write(tmp_path, *paths)


def test_a_report_that_cannot_be_written_is_one_line(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "docs").write_text("a file")
    with pytest.raises(TicketError, match=r"cannot be written .*; choose another --out or"):
        write(tmp_path, run)


def test_misuse_exits_with_2_and_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        run_main(lambda: report.main([]))
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: RUN: got none, expected directories")
    assert message.count("\n") == 1


def changed(config):
    """Changes every field that a command line can, to what no preset has."""
    kinds = {
        int: lambda value: value + 1,
        float: lambda value: value / 2 + 0.001,
        bool: lambda value: not value,
        str: lambda value: value if config.preset == value else f"{value} or $other",
        tuple: lambda value: value[::-1],
    }
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    made = {n: kinds[type(v)](v) for n, v in values.items() if type(v) in kinds}
    return dataclasses.replace(config, **made)


EXPERIMENTS = [name for name in questions() if name != "report"]


@pytest.mark.parametrize("name", [*EXPERIMENTS, "beta"])
@pytest.mark.parametrize("preset", ["default", "smoke"])
def test_the_command_of_a_run_gives_its_configuration_back(name, preset):
    presets = importlib.import_module(f"experiments.{name}").PRESETS
    config = changed(presets[preset])
    words = options(runs.as_json(config), presets[preset])
    again = parse(presets, "", "", shlex.split(shlex.join(["--preset", preset, *words])))
    assert runs.run_hash(again) == runs.run_hash(config) != runs.run_hash(presets[preset])
    assert options(runs.as_json(presets[preset]), presets[preset]) == []


def test_a_field_that_came_later_has_its_default_in_older_runs():
    recorded = runs.as_json(PRESETS["smoke"])
    del recorded["levels"], recorded["rate"]
    assert options(recorded, PRESETS["smoke"]) == ["--levels", "3"]


def test_what_is_no_experiment_is_listed_last(tmp_path):
    (tmp_path / "a_tool.py").write_text('"""Writes."""')
    (tmp_path / "b.py").write_text('"""Is it?\n\nMore."""\nPRESETS: dict = {}')
    (tmp_path / "c.py").write_text('"""Was it?"""\nPRESETS = {}')
    (tmp_path / "__main__.py").write_text('"""Lists."""')
    found = listing.questions(tmp_path)
    assert list(found.items()) == [("b", "Is it?"), ("c", "Was it?"), ("a_tool", "Writes.")]
    assert listing.listing("rooms", found).splitlines()[1:] == [
        "python -m rooms.c      Was it?",
        "python -m rooms.a_tool Writes.",
    ]
    assert list(questions())[-1] == "report"


@pytest.mark.slow
def test_a_real_run_is_reported(tmp_path, monkeypatch):
    # The choices that compile fastest, and the one figure that is looked at.
    draw = lambda results, _: {"tickets": plots.both_against_density(results)}  # noqa: E731
    monkeypatch.setattr(lenet, "EXPERIMENT", dataclasses.replace(lenet.EXPERIMENT, draw=draw))
    words = (
        "--preset smoke --plan map --levels 1 --steps 4it --evaluate-every 2it --arms ticket "
        "--optimizer sgd --initializer glorot_uniform"
    )
    run = tmp_path / "run"
    lenet.main([*words.split(), "--out", str(run)], Console(file=io.StringIO()))
    text, images, printed = write(tmp_path, run)
    found = section(text, "lenet")
    assert found.startswith(f"\n{questions()['lenet']}\n")
    assert (
        "- Command: `python -m experiments.lenet --preset smoke --initializer glorot_uniform "
        "--steps 4it --optimizer sgd --levels 1 --evaluate-every 2it --arms ticket`\n"
    ) in found
    assert "| pruned weights are exactly 0.0 after training | contract 1 | — |" in found
    assert "Frankle & Carbin" in found
    assert found.count("| yes |") == 3
    assert images == {"lenet_tickets.png": (run / "figures" / "tickets.png").read_bytes()}
    assert "3 claims hold, 0 fail, 9 are undecided" in printed
    assert str(tmp_path) not in found
