"""What `tests/test_distributed.py` runs in two processes: `two_hosts.py MODE PORT PROCESS`."""

import contextlib
import io
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.command_line import run_main
from experiments.common.distributed import Hosts, join
from jaxticket import Plan, TicketError, population
from jaxticket.population import hosts
from jaxticket.runs.partway import PartwayFile

# Collecting doctests imports this file too.
MODE, PORT, PROCESS = sys.argv[1:4] if __name__ == "__main__" else ("", "", "0")
PROCESS = int(PROCESS)


def values():
    """Four networks' worth of everything that records hold, in bits that sums would change."""
    bits = np.array([0x80000000, 0x7FC00123, 0xFF800001, 0x00000001], np.uint32)
    return {
        "float": np.stack([bits.view(np.float32)[[i, 0, 3]] for i in range(4)]),
        "mask": np.arange(12).reshape(4, 3) % 5 == 0,
        "step": np.arange(4, dtype=np.int32),
        "pixels": np.full((4, 2), 255, np.uint8),
        "key": jax.random.split(jax.random.key(7), 4),
    }


def bits_of(tree):
    plain = lambda leaf: (  # noqa: E731
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    )
    return [np.asarray(plain(leaf)).tobytes() for leaf in jax.tree.leaves(tree)]


def refused(function):
    try:
        function()
    except TicketError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def one(network, factor):
    drawn = jax.random.normal(network["key"], (3,))
    return network | {"drawn": drawn * factor, "sum": jnp.sum(jnp.sin(drawn)) + factor}


def share_out():
    assert jax.device_count() == 4
    assert jax.local_device_count() == 2
    assert hosts.is_primary() == (PROCESS == 0)
    everywhere = Plan.auto()
    assert everywhere.devices == 4
    run = population.populate(one, everywhere)
    outputs = run(population.pad(values(), 8), np.float32(3))
    assert not outputs["drawn"].is_fully_addressable
    again = run({name: outputs[name] for name in values()}, np.float32(3))
    alone = population.populate(one, Plan("map"))(population.pad(values(), 8), np.float32(3))
    assert bits_of(population.to_host(outputs)) == bits_of(population.to_host(alone))
    assert bits_of(population.to_host(again)) == bits_of(population.to_host(alone))
    shared = population.share(values(), everywhere)
    assert bits_of(population.to_host(shared)) == bits_of(values())
    assert population.to_host(shared["key"]).dtype == values()["key"].dtype


def agree():
    calls = []
    assert hosts.once(lambda: calls.append(1) or {"found": [PROCESS]}) == {"found": [0]}
    assert len(calls) == (PROCESS == 0)
    assert refused(lambda: hosts.once(lambda: Plan.by_name("mash"))).startswith(
        "SharedError: unknown plan 'mash': did you mean 'mesh'"
    )
    try:
        said = refused(lambda: hosts.once(Path("missing").rmdir))
    except FileNotFoundError:
        said = "FileNotFoundError"
    wanted = ("SharedError: process 0 failed: [Errno 2]", "FileNotFoundError")[PROCESS == 0]
    assert said.startswith(wanted), said
    with contextlib.redirect_stderr(io.StringIO()) as said:
        PartwayFile(Path("missing") / "kept.npz").save({"stop": 1})
    assert "kept.npz: cannot be written" in said.getvalue()
    hosts.check_same("seed", "0")
    assert "seed: process 1 of 2 got another" in refused(
        lambda: hosts.check_same("seed", str(PROCESS))
    )
    few = population.populate(lambda x: x, Plan("map", devices=2))
    assert "got 2 devices, expected all 4" in refused(lambda: few(np.zeros(2)))


def main():
    told = [] if "SLURM_PROCID" in os.environ else [f"127.0.0.1:{PORT}", 2, PROCESS]
    join(Hosts(True, *told, lost_after=10.0))
    print("joined", flush=True)
    if MODE == "work":
        share_out()
        agree()
    elif MODE == "fail" and PROCESS == 1:
        raise TicketError("no data here")
    else:
        # Process 0 waits for what the other would do, or the other for process 0.
        hosts.once(lambda: time.sleep(600 if MODE == "wait" else 0))
        hosts.check_same("seed", "0")
    return 0


if __name__ == "__main__":
    run_main(main)
