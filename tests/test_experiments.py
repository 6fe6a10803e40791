"""Laws of the command line: what a user types, sees and finds, right or wrong."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray
from rich.console import Console
from torture import Moment, compare, trial

from experiments import lenet
from experiments.__main__ import questions
from experiments.common import verifying
from jaxticket import TicketError, runs
from jaxticket.arms import ARMS
from jaxticket.runs.locking import Lock

ROOT = Path(__file__).parents[1]
OPTIONS = [
    "--dataset",
    "--data-path",
    "--download",
    "--replicates",
    "--levels",
    "--steps",
    "--batch-size",
    "--optimizer",
    "--learning-rate",
    "--prune-rate",
    "--output-prune-rate",
    "--scope",
    "--rewind-step",
    "--arms",
    "--seed",
    "--plan",
    "--out",
    "--fresh",
    "--preset",
    "--check",
]
TINY = [
    "--preset",
    "smoke",
    "--plan",
    "map",
    "--steps",
    "6it",
    "--evaluate-every",
    "3it",
    "--levels",
    "3",
]


def run(*arguments):
    """Runs the experiment in this process; gives exit code and what it printed."""
    console = Console(file=io.StringIO(), width=130)
    code = lenet.main([*map(str, arguments)], console)
    return code, console.file.getvalue()


def command(*arguments, **options):
    return [sys.executable, "-m", "experiments.lenet", *map(str, arguments)], {
        "cwd": ROOT,
        "text": True,
        **options,
    }


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """One whole run as a user makes it: the process, its output and its directory."""
    out = tmp_path_factory.mktemp("smoke") / "run"
    words, options = command("--preset", "smoke", "--check", "--out", out, capture_output=True)
    return subprocess.run(words, **options), out


def test_the_smoke_run_passes_its_check_and_leaves_every_file(smoke):
    process, out = smoke
    assert process.returncode == 0, process.stderr
    assert "all 3 exact claims hold" in process.stdout
    assert "Traceback" not in process.stderr
    for name in ("config.json", "environment.json", "results.nc", "summary.json"):
        assert (out / name).stat().st_size > 0
    figures = {figure.stem for figure in (out / "figures").iterdir()}
    assert figures >= {"tickets", "accuracy", "early_stop", "learning_curves"}
    for figure in (out / "figures").iterdir():
        assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_summary_has_the_promised_form(smoke):
    summary = json.loads((smoke[1] / "summary.json").read_text())
    assert set(summary) >= {"experiment", "config", "seconds", "claims"}
    wanted = {"id", "statement", "source", "expected", "measured", "interval", "holds"}
    assert all(set(claim) >= wanted for claim in summary["claims"])
    assert len({claim["id"] for claim in summary["claims"]}) == len(summary["claims"])
    assert summary["config"]["preset"] == "smoke"


def test_a_run_records_what_it_ran_on(smoke):
    start = runs.read_json(smoke[1] / "environment.json")["starts"][0]
    assert start["data"]["name"] == "digits"
    assert len(start["data"]["sha256"]) == 64
    assert start["packages"]["jax"] == jax.__version__
    assert "map" in start["plan"]


def test_the_tables_fit_a_narrow_terminal(smoke):
    console = Console(file=io.StringIO(), width=80)
    assert lenet.main(["--preset", "smoke", "--out", str(smoke[1])], console) == 0
    text = console.file.getvalue()
    assert "…" not in text
    assert re.search(r"64.34% +\d+\.\d±\d+\.\d @\d+", text)


def test_the_same_command_again_only_prints(smoke):
    out = smoke[1]

    def written():
        files = [path for path in out.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    code, text = run("--preset", "smoke", "--check", "--out", out)
    assert code == 0
    assert "all 3 exact claims hold" in text
    assert written() == before


def test_a_run_without_a_folder_of_its_own_goes_on_from_its_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*TINY, "--levels", "2", "--arms", "ticket"]
    assert run(*words)[0] == 0
    [path] = Path("runs/lenet").iterdir()
    results = (path / "results.nc").read_bytes()
    (path / "results.nc").unlink()
    (path / "summary.json").unlink()
    code, printed = run(*words)
    assert code == 0
    assert (path / "results.nc").read_bytes() == results
    assert json.loads((path / "summary.json").read_text())["costs"]["networks"] == 0, printed


def test_a_library_user_opens_the_run(smoke):
    loaded = runs.load(smoke[1])
    assert loaded.results["test_accuracy"].dims == ("arm", "level", "replicate", "step")
    assert loaded.mask("shuffle", 2, 1)["output"]["kernel"].shape == (100, 10)
    assert loaded.summary["experiment"] == "lenet"


KILLS = [
    Moment("phase data"),
    Moment("phase compile", 2),
    Moment("file checkpoints-partway.npz", 1),
    Moment("there checkpoints/*orbax-checkpoint-tmp*"),
    Moment("file results.nc"),
]
"""Each in its own start of one run; `python -m tests.torture` draws as many as one likes."""


@pytest.mark.slow
def test_killed_five_times_the_same_command_gives_the_same_bits(smoke, tmp_path):
    words = ["--preset", "smoke", "--check", "--keep-every", "0"]
    found = trial("experiments.lenet", words, KILLS, smoke[1], tmp_path / "run", {})
    assert found.faults == []
    assert [moment for moment, _ in found.kills] == KILLS


@pytest.mark.slow
def test_what_a_kill_could_lose_is_found(smoke, tmp_path):
    copy = shutil.copytree(smoke[1], tmp_path / "run")
    assert compare(smoke[1], copy) == []
    (copy / ".results.nc.partial").write_bytes(b"half")
    with (copy / "results.nc").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x01\x02\x03")
    shutil.rmtree(copy / "checkpoints" / "3" / "record")
    shutil.copytree(copy / "checkpoints/4/record", copy / "checkpoints/3/record")
    lock = Lock(copy / ".lock")
    faults = compare(smoke[1], copy)
    lock.close()
    assert faults[:2] == ["results.nc differs", "only one of the two has .results.nc.partial"]
    assert any(re.search("checkpoints/3: record/.* another sha256", fault) for fault in faults)
    assert "is in use by process" in faults[-1]


def test_what_the_run_takes_on_disk_was_predicted_within_15_percent(smoke):
    process, out = smoke
    number, unit = re.search(r"disk: ([\d.]+) ([KM])iB, and up to", process.stdout).groups()
    predicted = float(number) * {"K": 2**10, "M": 2**20}[unit]
    taken = sum(512 * path.stat().st_blocks for path in [out, *out.rglob("*")])
    assert predicted == pytest.approx(taken, rel=0.15)


@pytest.mark.slow
def test_a_network_that_is_drawn_is_verified_and_nothing_is_written(smoke):
    files = [path for path in smoke[1].rglob("*") if path.name != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in files}
    code, text = run("--preset", "smoke", "--out", smoke[1], "--verify")
    assert code == 0
    assert "masks, params, model state and curves are identical" in text
    assert re.search(r"trained \w+ level \d replicate \d again \(--verify-seed \d+\), with", text)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def test_one_bit_of_one_weight_is_found_with_what_has_changed(smoke, monkeypatch, capsys):
    def train_again(withholding, search):
        store = runs.CheckpointStore(smoke[1] / "checkpoints")
        withholding.withheld, trained = store.read(4), store.read(4)
        store.close()
        withholding.drawn = trained.coordinates[0]
        trained.params["hidden_0/bias"].view(np.uint32)[0, 3] ^= 1
        return trained

    environment = verifying.describe_environment() | {"python": "3.99"}
    monkeypatch.setattr(verifying, "_train_again", train_again)
    monkeypatch.setattr(verifying, "describe_environment", lambda: environment)
    assert run("--preset", "smoke", "--out", smoke[1], "--verify")[0] == 1
    message = capsys.readouterr().err
    assert "params/hidden_0/bias differs in 1 of 300 values, by up to " in message
    assert re.search(r"; python 3\.\d+\.\d+ then, 3\.99 now", message)
    assert message.count("\n") == 1


def until(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_at_the_next_evaluation_and_nothing_is_lost(number, smoke, tmp_path):
    out = tmp_path / "run"
    words, options = command("--preset", "smoke", "--check", "--out", out)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    until((out / "checkpoints").is_dir, process)
    time.sleep(0.2)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 128 + number, message
    assert "ending within seconds, when all is kept; interrupt again to end at once" in message
    assert f"interrupted ({number.name}): rerun the same command to go on from here" in message
    assert "Traceback" not in message
    again = subprocess.run(words, capture_output=True, **options)
    assert again.returncode == 0, again.stderr
    assert (out / "results.nc").read_bytes() == (smoke[1] / "results.nc").read_bytes()
    assert not list(out.glob("checkpoints-partway*"))


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path):
    long = ("--steps", "2000it", "--evaluate-every", "2000it", "--width", "2")
    words, options = command("--preset", "smoke", *long, "--out", tmp_path / "run")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    until((tmp_path / "run" / "checkpoints").is_dir, process)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted again: rerun the same command" in message


@pytest.mark.slow
def test_a_diverging_run_ends_with_what_diverged_and_keeps_its_results(tmp_path, capsys):
    code, text = run(*TINY, "--learning-rate", "1e30", "--arms", "ticket", "--out", tmp_path / "r")
    assert code == 1
    message = capsys.readouterr().err
    assert re.search(r"error: the loss of \d+ networks are not finite: ticket level 0", message)
    assert message.count("\n") == 1
    assert "diverged" in text
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert {"arm": "ticket", "level": 0}.items() <= summary["diverged"][0].items()
    assert isinstance(runs.load(tmp_path / "r").results, xarray.Dataset)


@pytest.mark.slow
def test_a_broken_claim_fails_the_check(smoke, tmp_path):
    out = tmp_path / "run"
    code, _ = run(*TINY, "--out", out)
    assert code == 0
    summary = runs.read_json(out / "summary.json")
    summary["claims"][0]["holds"] = False
    runs.write_json(out / "summary.json", summary)
    assert run(*TINY, "--out", out)[0] == 0
    assert run(*TINY, "--check", "--out", out)[0] == 1


def test_a_directory_of_another_configuration_is_refused(smoke):
    with pytest.raises(TicketError, match=r"another configuration \(seed 0 there, 1 now"):
        run("--preset", "smoke", "--seed", 1, "--out", smoke[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--levels", "0"], "error: --levels: got 0, expected at least 1"),
        (["--dataset", "digist"], "error: unknown data set 'digist'"),
    ],
)
def test_misuse_exits_with_2_and_no_traceback(words, message, tmp_path):
    line, options = command("--preset", "smoke", *words, capture_output=True)
    process = subprocess.run(line, **options)
    assert process.returncode == 2
    assert process.stderr.startswith(message)
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""


def help_text(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    return capsys.readouterr().out


def test_the_promised_options_exist(capsys):
    text = help_text(capsys)
    assert [option for option in OPTIONS if option not in text] == []


def test_help_is_of_the_preset_that_was_asked_for(capsys):
    with pytest.raises(SystemExit):
        run("--preset", "paper", "--help")
    assert "50000" in capsys.readouterr().out


def test_the_paper_preset_is_the_published_protocol():
    paper = lenet.PRESETS["paper"]
    assert (paper.dataset, str(paper.steps), paper.batch_size) == ("mnist", "50000it", 60)
    assert (paper.optimizer, paper.learning_rate) == ("adam", 1.2e-3)
    assert (paper.prune_rate, paper.output_prune_rate, paper.scope) == (0.2, 0.1, "layerwise")
    assert paper.replicates >= 5
    networks = paper.replicates * (paper.levels + (len(paper.arms) - 1) * (paper.levels - 1))
    cost = f"{networks} networks, {networks * paper.steps.at(1) / 1e6:.1f} million ticket-steps"
    assert cost in (lenet.__doc__ or "")


def test_the_default_is_as_large_as_promised():
    default = lenet.DEFAULT
    assert default.dataset == "fashion_mnist_5k"
    assert (default.levels, default.replicates) >= (16, 5)
    wanted = {"ticket", "reinit", "shuffle", "shuffle_reinit", "oneshot"}
    assert set(default.arms) == wanted <= set(ARMS)


@pytest.mark.slow
def test_lenets_question_can_be_asked_of_a_convolutional_network_and_a_budget_of_costs(tmp_path):
    network = ("--model", "conv_2", "--width", "0.1", "--scope", "multiplications")
    short = ("--steps", "2it", "--evaluate-every", "2it", "--levels", "3", "--replicates", "2")
    code, _ = run(
        "--preset", "smoke", "--arms", "ticket", *network, *short, "--out", tmp_path / "run"
    )
    assert code == 0
    claims = json.loads((tmp_path / "run" / "summary.json").read_text())["claims"]
    held = {claim["id"]: claim["holds"] for claim in claims}
    # A budget of costs says nothing of numbers of weights; the search itself holds it.
    assert (held["density-schedule"], held["exact-zeros"]) == (None, True)
    assert not (tmp_path / "run" / "figures" / "first_layer_masks.png").exists()
    results = runs.load(tmp_path / "run").results
    np.testing.assert_array_equal(results["scheduled"], [-1, -1, -1])
    np.testing.assert_allclose(results["density"], [1, 0.8, 0.64], atol=1e-4)


def test_the_list_of_experiments_shows_questions():
    assert questions()["lenet"].startswith("Do winning tickets exist?")


def readme_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def test_the_readme_begins_with_the_two_commands_each_on_one_line():
    main, tests = (block.strip() for block in readme_commands()[:2])
    assert "\n" not in main
    assert "\n" not in tests
    assert main.endswith("python -m experiments.lenet")
    assert "pip install" in main
    assert tests.endswith("pytest")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.search(r"\[(\w+)\]", tests)[1] in extras["optional-dependencies"]


def test_every_option_and_module_in_the_readme_exists(capsys, pytestconfig):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    options = r"(?<![\w-])--[a-z][a-z-]+"
    for command in re.findall(r"`(pytest [^`]+)`", text):
        for option in re.findall(options, command):
            pytestconfig.getoption(option)  # raises where there is none
        text = text.replace(command, "")
    known = help_text(capsys)
    for option in set(re.findall(options, text)):
        assert option in known, f"README names {option}"
    for module in set(re.findall(r"python -m experiments\.(\w+)", text)):
        assert module in questions()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), f"README links to {link}"


@pytest.mark.slow
def test_the_readmes_example_runs(monkeypatch):
    # The example asks for a device a core, and the laws that run after it for eight.
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "8")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[:2]:
        quick = example
        for long, short in (
            ("steps=300", "steps=2"),
            ("every=50", "every=2"),
            ("step=50", "step=1"),
        ):
            quick = quick.replace(long, short)
        assert quick != example
        exec(quick, names)
    assert names["results"].sizes["replicate"] == 2
    assert names["mask"]["hidden_0"]["kernel"].shape == (784, 300)
    assert names["swept"].variants == ("slow", "fast", "fast, rewound to step 50")


def test_ci_runs_the_readmes_test_command():
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
