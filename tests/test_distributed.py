"""Laws of several hosts: two real processes find what one finds, and none waits for the dead.

The processes meet on loopback, each with two CPU devices.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import lenet
from experiments.common.command_line import parse
from experiments.common.configuration import check_configuration
from experiments.common.distributed import Hosts, check_hosts, join
from jaxticket import TicketError, allocate, masks, models, prune, runs

ROOT = Path(__file__).parents[1]
RUN = ["-m", "experiments.lenet", "--preset", "smoke", "--plan", "mesh", "--arms", "ticket"]
RUN += [
    "reinit",
    "--levels",
    "2",
    "--steps",
    "2it",
    "--evaluate-every",
    "2it",
    "--lost-after",
    "10",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*words, devices=2, **variables):
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(processes):
    """Waits for processes; gives stdout and stderr of each, and the exit codes."""
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return outputs, [process.returncode for process in processes]


def pair(mode, variables=lambda port, process: {}):
    port = free_port()
    return [
        start("tests/two_hosts.py", mode, port, process, **variables(port, process))
        for process in range(2)
    ]


def slurm(port, process):
    """What SLURM tells each of two tasks on one node."""
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "JAX_COORDINATOR_PORT": str(port),
    }


def run_pair(out):
    words = ["--distributed", "--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2"]
    return [start(*RUN, "--out", out, *words, "--process", process) for process in range(2)]


def test_two_processes_share_a_population_out_and_agree_to_the_bit():
    outputs, codes = finish(pair("work"))
    assert codes == [0, 0], outputs
    # Each prints one line itself, and the collectives of the CPUs print none.
    assert outputs == [("joined\n", ""), ("joined\n", "")]


def test_a_mistake_on_one_host_ends_the_others_with_its_name():
    """The two find each other by what SLURM tells."""
    (first, second), codes = finish(pair("fail", slurm))
    assert codes == [2, 2]
    assert second[1] == "error: no data here\n"
    name = re.escape(socket.gethostname()[:64])
    line = rf"error: host {name} \(process 1 of 2\) has ended: no data here\n"
    assert re.fullmatch(line, first[1])


def test_the_loss_of_the_coordinator_ends_the_others_with_its_name():
    processes = pair("wait")
    for process in processes:
        assert process.stdout.readline() == "joined\n"
    processes[0].kill()
    (_, (_, message)), codes = finish(processes)
    assert codes == [-signal.SIGKILL, 1]
    # JAX's runtime prints its reasons first.
    assert "(process 0 of 2) has dropped out; rerun the same command" in message.splitlines()[-1]


@pytest.mark.slow
def test_a_run_that_lost_a_host_goes_on_to_the_results_of_one_process(tmp_path):
    """Covers the run on two processes, the loss, and resuming, at the price of one."""
    alone = start(*RUN, "--out", tmp_path / "alone", devices=4)
    _, codes = finish([alone])
    assert codes == [0]

    processes, deadline = run_pair(tmp_path / "shared"), time.monotonic() + 240
    while not (tmp_path / "shared" / "checkpoints" / "0").exists():
        assert time.monotonic() < deadline
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.01)
    processes[1].kill()
    (first, _), codes = finish(processes)
    assert codes == [1, -signal.SIGKILL]
    assert "(process 1 of 2) has dropped out; rerun the same command" in first[1]
    assert first[1].count("\n") == 1
    assert not (tmp_path / "shared" / "results.nc").exists()
    # Not the folder's own time: the list of its files may be written when the run goes on.
    stamp = (tmp_path / "shared" / "checkpoints" / "0" / "record").stat().st_mtime_ns

    (first, second), codes = finish(run_pair(tmp_path / "shared"))
    assert codes == [0, 0], (first, second)
    assert "claims" in first[0]
    assert first[1] == ""
    assert second == ("", "")
    assert (tmp_path / "shared" / "checkpoints/0/record").stat().st_mtime_ns == stamp
    same_run(tmp_path / "alone", tmp_path / "shared")


def same_run(one, other):
    assert (one / "results.nc").read_bytes() == (other / "results.nc").read_bytes()
    names = [{file.name for file in (path / "figures").iterdir()} for path in (one, other)]
    assert names[0] == names[1]
    with (
        runs.CheckpointStore(one / "checkpoints") as first,
        runs.CheckpointStore(other / "checkpoints") as second,
    ):
        assert first.coordinates().keys() == second.coordinates().keys()
    loaded = [runs.load(path) for path in (one, other)]
    for arm, level in (("ticket", 0), ("ticket", 1), ("reinit", 1)):
        for replicate in range(2):
            left, right = (run.network(arm, level, replicate) for run in loaded)
            same = jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), left, right)
            assert jax.tree.all(same)
    starts = runs.read_json(other / "environment.json")["starts"]
    assert [entry["devices"]["processes"] for entry in starts] == [2, 2]
    assert [entry["devices"]["count"] for entry in starts] == [4, 4]


# Options.

THREE = ["--coordinator", "127.0.0.1:5000", "--processes", "2", "--process", "0"]
BAD = [
    (["--distributed", *THREE[:2]], "got --coordinator without --processes and --process, exp"),
    (["--distributed", *THREE[2:]], "got --processes and --process without --coordinator, exp"),
    (THREE, "--coordinator: got it without --distributed"),
    (["--distributed", *THREE[:-1], "2"], "--process: got 2, expected 0 to 1 for 2 processes"),
    (["--distributed", *THREE[:-1], "-1"], "--process: got -1, expected 0 to 1"),
    (["--distributed", *THREE[:2], "--processes", "0", *THREE[4:]], "--processes: got 0, expected"),
    (["--distributed", "--coordinator", "localhost", *THREE[2:]], "got 'localhost', expected host"),
    (["--distributed", "--coordinator", "a:70000", *THREE[2:]], "got 'a:70000', expected host:po"),
    (["--distributed", *THREE, "--plan", "chunked"], "--plan chunked: uses one device"),
    (["--lost-after", "0"], "--lost-after: got 0.0, expected a positive number"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=lambda value: " ".join(value))
def test_bad_options_are_one_line_before_anything_starts(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TicketError, match=re.escape(message)) as caught:
        lenet.main(["--preset", "smoke", *words])
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_without_a_cluster_the_three_options_are_named(tmp_path):
    (output,), codes = finish(
        [start("-m", "experiments.lenet", "--preset", "smoke", "--distributed", "--out", tmp_path)]
    )
    assert codes == [2]
    assert output[1].startswith("error: --distributed: found no SLURM, TPU pod or Open MPI")
    assert output[1].count("\n") == 1
    for option in ("--coordinator", "--processes", "--process"):
        assert option in output[1]


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TicketError, match=f"port {port} cannot be used here"):
            join(Hosts(True, f"127.0.0.1:{port}", 2, 0))


def test_a_host_that_drops_out_is_noticed_within_a_minute():
    check_hosts(Hosts(), "auto")
    # Judged every eighth of it; the rest is the last words of process 0.
    assert Hosts().lost_after * (1 + 2 / 8) + 5 < 60


def test_hosts_change_no_science():
    other = lenet.dataclasses.replace(lenet.DEFAULT, hosts=Hosts(True, "a:1", 2, 1))
    assert runs.run_hash(other) == runs.run_hash(lenet.DEFAULT)


def scaling():
    return (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_every_command_in_the_guide_is_understood():
    commands = re.findall(r"python -m experiments\.lenet([^'\n]*)", scaling())
    assert len(commands) == 9
    for words in commands:
        config = parse(lenet.PRESETS, "lenet", "", shlex.split(words))
        check_configuration(config)
    assert sum("--distributed" in words for words in commands) == 5


def test_the_plan_for_resnet_20_is_counted_right():
    model = models.resnet_20()
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    dense = jax.eval_shape(lambda: masks.ones(params))
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), dense)
    kept = [sum(level.values()) for level in prune.schedule(allocate.globally(0.2), ones, 16)]
    whole, prunable = (sum(leaf.size for leaf in jax.tree.leaves(t)) for t in (params, dense))
    statistics = sum(leaf.size for leaf in jax.tree.leaves(state))
    rest = whole - prunable
    ticket = 16 * prunable / 8 + 4 * sum(kept) + 4 * 16 * rest
    controls = 4 * (15 * prunable / 8 + 4 * sum(kept[1:]) + 4 * 15 * rest)
    origin = 4 * whole + 4 * (2 * whole + statistics)
    steps = 63_000 + (15 + 4 * 15) * 61_000
    for fact in (
        f"{steps:,} |",
        f"16 masks of {prunable:,} bits, {sum(kept):,} weights kept in all, 16 × {rest:,} not",
        f"15 masks and {sum(kept[1:]):,} weights each, 15 × {rest:,} not prunable",
        f"| {ticket / 1e6:.1f} MB |",
        f"| {controls / 1e6:.1f} MB |",
        f"| {origin / 1e6:.1f} MB |",
        f"**{(ticket + controls + origin) / 1e6:.1f} MB** |",
        f"**{76 * (4 * whole + prunable) * 1000 / 1e9:.0f} GB for 1,000**",
    ):
        assert fact in scaling()
