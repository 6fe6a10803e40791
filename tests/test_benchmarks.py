"""Laws of the benchmarks: they end, say what they promise, and fail where they must. No timing."""

import doctest
import importlib
import io
import json

import cases
import jax
import numpy as np
import pytest
from rich.console import Console

from benchmarks import (
    compaction,
    convolution,
    coverage,
    differential,
    limit,
    memory,
    overhead,
    peers,
    presets,
    scaling,
)
from benchmarks.__main__ import questions
from benchmarks.common import machine, networks, problems
from benchmarks.common.least import least_of
from benchmarks.common.options import Options
from benchmarks.common.report import Findings, finish
from benchmarks.common.targets import TWO_CORES, verdict
from benchmarks.common.timing import Contender, interleave, ratio
from jaxticket import TicketError

MAINS = {
    "compaction": compaction,
    "limit": limit,
    "memory": memory,
    "overhead": overhead,
    "peers": peers,
    "presets": presets,
    "scaling": scaling,
}
KEYS = {"schema", "sha256", "benchmark", "config", "machine", "measurements", "targets"}
KEYS |= {"not_measured", "faults"}
ROWS = {
    "compaction": {
        "networks": {"task", "milliseconds", "compacted_milliseconds", "ratio", "parameters"},
        "products": {"density", "sparse_milliseconds", "ratio", "bytes_ratio"},
    },
    "limit": {
        "limit": {"operations", "bytes", "products_rate", "stream_rate", "share_if_overlapped"}
    },
    "memory": {"memory": {"replicates", "together", "mebibytes", "seconds"}},
    "overhead": {
        "masks": {"step", "milliseconds", "ratio"},
        "phases": {"phase", "seconds", "default_seconds", "default_share"},
        "levels": {"level", "seconds"},
    },
    "peers": {"peers": {"contender", "milliseconds", "ratio", "compile_seconds", "accuracy"}},
    "presets": {"presets": {"experiment", "networks", "million_steps", "milliseconds", "hours"}},
    "scaling": {"scaling": {"strategy", "tickets", "milliseconds", "mebibytes"}},
}
TARGETS = {
    "compaction": {"compaction.inference", "compaction.training", "compaction.sparse"},
    "limit": {"limit.lenet_300_100"},
    "memory": {"memory.groups", "memory.expected"},
    "overhead": {"overhead.masks: lenet_300_100", "overhead.training", "overhead.levels"},
    "peers": {"peers.lenet_300_100"},
    "presets": set(),
    "scaling": {"scaling.auto: lenet_300_100", "scaling.flat"},
}


def run(name, *arguments):
    console = Console(file=io.StringIO(), width=130)
    code = MAINS[name].main(["--quick", *map(str, arguments)], console)
    return code, console.file.getvalue()


def test_all_benchmarks_are_listed():
    assert list(questions()) == sorted([*MAINS, "convolution", "coverage", "differential"])
    assert all(question.endswith(".") for question in questions().values())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MAINS if name != "peers"])
def test_a_quick_run_prints_tables_and_writes_what_it_promises(name, tmp_path):
    figure = ["--figure", tmp_path / "figure.png"] if name == "scaling" else []
    code, text = run(name, "--json", tmp_path / "out.json", *figure)
    assert code == 0
    check_output(name, text, json.loads((tmp_path / "out.json").read_text()))
    if figure:
        assert figure[1].read_bytes().startswith(b"\x89PNG")


def test_the_quick_run_of_convolutions_finds_all_lowerings_the_same(monkeypatch):
    monkeypatch.setattr(convolution, "LAYERS", {"small": (2, 8, 4, 4)})
    console = Console(file=io.StringIO(), width=130)
    assert convolution.main(["--quick"], console) == 0
    assert "(chosen)" in console.file.getvalue()


def test_the_quick_simulation_covers_what_it_must(tmp_path):
    console = Console(file=io.StringIO(), width=130)
    assert coverage.main(["--quick", "--json", str(tmp_path / "out.json")], console) == 0
    found = json.loads((tmp_path / "out.json").read_text())["measurements"]
    assert {row["population"] for row in found["coverage"]} == set(coverage.POPULATIONS)
    for row in found["coverage"]:
        assert row["covered"] + row["above"] + row["below"] == pytest.approx(1)
    assert all(row["corrected"] <= row["alone"] for row in found["families"])


@pytest.mark.parametrize("name", coverage.POPULATIONS)
def test_populations_have_the_mean_that_they_say(name):
    mean, draw = coverage.POPULATIONS[name]
    samples = draw(np.random.default_rng(0), (20_000, 5))
    error = samples.std() / samples.size**0.5
    assert abs(samples.mean() - mean) < 5 * error


def test_intervals_that_are_too_short_are_a_fault(monkeypatch):
    real = coverage.t_intervals
    monkeypatch.setattr(coverage, "t_intervals", lambda values: real(values, 0.9))
    console = Console(file=io.StringIO(), width=130)
    assert coverage.main(["--quick"], console) == 1
    assert "fault: normal samples of 3: covered in 9" in console.file.getvalue()


def test_families_that_are_not_corrected_are_a_fault(monkeypatch):
    monkeypatch.setattr(coverage, "holm", list)
    console = Console(file=io.StringIO(), width=130)
    assert coverage.main(["--quick", "--claims", "20"], console) == 1
    assert "fault: 20 claims" in console.file.getvalue()


def test_pytorch_prunes_what_the_library_prunes():
    pytest.importorskip("torch")
    from benchmarks.by_hand import torch_imp
    from benchmarks.common.agreement import arrays

    params, mask = cases.params(3), cases.mask(3, density=0.8)
    scores = jax.tree.map(lambda p, m: None if m is None else abs(p), params, mask)
    for scope, rates in (
        ("layerwise", {"hidden_0/kernel": 0.2, "output/kernel": 0.1}),
        ("global", {"*": 0.2}),
    ):
        allocation = differential.SCOPES[scope]
        counts = allocation.schedule(jax.tree.map(np.asarray, mask), 2)[1]
        wanted = arrays(allocation.select(scores, mask, counts))
        found = torch_imp.prune(arrays(params), arrays(mask), rates)
        for path, leaf in wanted.items():
            np.testing.assert_array_equal(found[path], leaf)


@pytest.mark.slow
def test_both_sides_find_the_same_tickets(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setattr(differential, "RATES", {"momentum": 0.1})
    console = Console(file=io.StringIO(), width=130)
    words = ["--quick", "--precisions", "float32", "--json", str(tmp_path / "out.json")]
    assert differential.main(words, console) == 0
    rows = json.loads((tmp_path / "out.json").read_text())["measurements"]["levels"]
    assert len(rows) == 2 * 3
    assert all(row["differing"] == 0 for row in rows)


def check_output(name, text, written):
    if TARGETS[name]:
        assert "stated ratios" in text
        assert "not judged" in text
    assert set(written) == KEYS
    assert written["benchmark"] == name
    assert written["config"]["quick"]
    assert written["machine"]["kind"] == machine.kind()
    assert written["faults"] == []
    assert set(written["measurements"]) == set(ROWS[name])
    for table, keys in ROWS[name].items():
        assert written["measurements"][table]
        assert all(set(row) >= keys for row in written["measurements"][table])
    assert {each["target"] for each in written["targets"]} == TARGETS[name]
    numbers = [each["measured"] for each in written["targets"] if each["measured"] is not None]
    assert all(number > 0 for number in numbers)


def test_peers_measures_pytorch_and_all_sides_learn_the_same(tmp_path):
    pytest.importorskip("torch")
    code, text = run("peers", "--json", tmp_path / "out.json")
    assert code == 0
    written = json.loads((tmp_path / "out.json").read_text())
    check_output("peers", text, written)
    rows = {row["contender"]: row for row in written["measurements"]["peers"]}
    assert list(rows) == [
        "jaxticket",
        "jax scan by hand",
        "pytorch eager",
        "pytorch eager, tuned",
    ]
    assert len({row["accuracy"] for row in rows.values()}) == 1
    losses = [row["loss"] for row in rows.values()]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)


def tiny(name, tickets=1, steps=1):
    problem = problems.make_problem(name, quick=True)
    made = networks.make_networks(problem, tickets, 0.5, seed=0)
    return problem, made, networks.batch_indices(problem, made, steps)


@pytest.mark.parametrize("name", problems.SETTINGS)
def test_the_pytorch_network_is_the_same_function_and_goes_back_to_the_bit(name):
    pytest.importorskip("torch")
    from benchmarks.by_hand import torch_loop

    problem, made, indices = tiny(name)
    assert torch_loop.greatest_difference(problem, made, indices) < peers.SAME_LOGITS
    for tuned in (False, True):
        tickets = torch_loop.torch_loop(problem, made, indices, tuned=tuned).prepare()
        params, model_state = torch_loop.trained_trees(made, tickets)
        jax.tree.map(np.testing.assert_array_equal, params, made.states.params)
        jax.tree.map(np.testing.assert_array_equal, model_state, made.states.model_state)


def test_another_network_in_pytorch_is_a_fault(monkeypatch):
    pytest.importorskip("torch")
    from benchmarks.by_hand import torch_networks

    right = torch_networks.FORWARDS["lenet_300_100"]
    wrong = lambda *arguments: 1.01 * right(*arguments)  # noqa: E731
    monkeypatch.setitem(torch_networks.FORWARDS, "lenet_300_100", wrong)
    monkeypatch.setattr(peers, "library", lambda *_: (None, 0))
    monkeypatch.setattr(peers, "jax_scan", lambda *_: None)
    findings = Findings("peers", {}, [], [], [])
    sides = peers._sides(*tiny("lenet_300_100"), peers.quick(peers.Config()), findings)
    assert len(sides) == 2
    assert "logits of the PyTorch twin differ" in findings.faults[0]


def test_without_pytorch_the_rest_is_measured(monkeypatch):
    monkeypatch.setattr(peers, "library", lambda *_: (None, 0))
    monkeypatch.setattr(peers, "jax_scan", lambda *_: None)
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    findings = Findings("peers", {}, [], [], [])
    sides = peers._sides(*tiny("lenet_300_100"), peers.quick(peers.Config()), findings)
    assert len(sides) == 2
    assert findings.not_measured == ["lenet_300_100 in PyTorch: it is not installed"]
    assert findings.faults == []


def test_a_side_that_learned_something_else_is_a_fault():
    row = {"model": "m", "contender": "jaxticket", "accuracy": 0.8, "loss": 0.5}
    same = row | {"contender": "same", "accuracy": 0.81, "loss": 0.51}
    worse = row | {"contender": "worse", "accuracy": 0.7}
    other = row | {"contender": "other", "loss": 0.6}
    broken = row | {"contender": "broken", "loss": float("nan")}
    faults = peers._disagreements([row, same, worse, other, broken], examples=1_000)
    assert [fault.split(":")[0] for fault in faults] == ["m, worse", "m, other", "m, broken"]


def test_a_pruned_weight_that_is_not_zero_is_found():
    mask = {"kernel": np.array([[True, False]]), "bias": None}
    params = {"kernel": np.array([[1.0, 0.0]]), "bias": np.array([1.0])}
    assert peers._pruned_are_zero(params, mask)
    assert not peers._pruned_are_zero(params | {"kernel": np.array([[1.0, 1e-9]])}, mask)


def test_a_missed_ratio_and_a_fault_fail_the_run_and_quick_runs_are_not_judged():
    def code(*, quick=False, faults=(), measured=1.0, kind=TWO_CORES):
        judged = [verdict("peers.lenet_300_100", measured, kind)]
        findings = Findings("peers", {}, judged, [], list(faults))
        return finish(Console(file=io.StringIO()), Options(quick=quick), findings)

    assert code() == 1
    assert code(measured=4.0) == 0
    assert code(measured=None) == 0
    assert code(kind="cpu x 3") == 0
    assert code(quick=True) == 0
    assert code(quick=True, faults=["a"]) == 1


def test_contenders_run_once_a_round_in_turn_after_one_that_does_not_count():
    calls = []
    contenders = [
        Contender(name, lambda name=name: calls.append(f"prepare {name}") or name, calls.append)
        for name in "abc"
    ]
    timings = interleave(contenders, rounds=4)
    assert [call for call in calls if "prepare" not in call] == list("abcabcbcacababc")
    assert [times.shape for times in timings.seconds.values()] == [(4,)] * 3
    assert set(timings.outcomes) == set("abc")
    assert interleave(contenders, rounds=1, keep=False).outcomes == {}
    assert ratio(np.array([2.0, 9.0, 4.0]), np.array([1.0, 3.0, 4.0])) == (2.0, 1.0, 3.0)


def test_the_least_arithmetic_is_three_products_a_layer_and_two_for_the_first():
    problem = problems.make_problem("conv_2", quick=True)
    rows, pixels = problem.setting.batch_size, 8 * 8
    first, second = 3 * 3 * 3 * 64, 3 * 3 * 64 * 64
    dense = [4 * 4 * 64 * 256, 256 * 256, 256 * 10]
    wanted = 2 * rows * (pixels * (2 * first + 3 * second) + 3 * sum(dense))
    assert least_of(problem).operations == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "4"], "--rounds: got 4, expected at least 5"),
        (["--models", "conv2"], "unknown model 'conv2': did you mean 'conv_2'"),
        (["--device", "gpu"], "--device: got gpu, but JAX has cpu here"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--steps", "-1"], "--steps: got -1, expected at least 1"),
    ],
)
@pytest.mark.parametrize("name", MAINS)
def test_bad_input_is_one_line(name, words, message):
    if words[0] == "--steps" and name == "compaction":  # which takes one step
        words, message = ["--examples", "-1"], message.replace("steps", "examples")
    if words[0] in ("--steps", "--models") and name == "memory":  # which chooses neither
        words, message = ["--groups", "1"], "--groups: got 1, expected at least 2, to compare with"
    with pytest.raises(TicketError, match=message) as caught:
        MAINS[name].main(words, Console(file=io.StringIO()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["agreement", "least", "machine", "problems", "targets", "timing"])
def test_examples_in_docstrings_hold(name):
    module = importlib.import_module(f"benchmarks.common.{name}")
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0
