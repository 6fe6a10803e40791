"""What every test runs under: eight CPU devices, strict promotion, run-time type checks."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

import jaxtyping

# Most of the time goes into compiling, often the same program twice. Workers and the processes
# that tests start inherit this cache; set the variable to keep it for the next session too.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxticket-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# Programs of tests run once, in no time: what XLA would do to make them fast is most of their time.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
# XLA's emitters of fused loops make programs faster that run for long, and take twice the time to
# compile. An unknown flag ends the process, so an XLA that has other flags is asked beforehand.
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if "XLA_FLAGS" not in os.environ:
    environment = os.environ | {"XLA_FLAGS": QUICK, "JAX_PLATFORMS": "cpu"}
    probe = [sys.executable, "-c", "import jax; jax.devices()"]
    known = subprocess.run(probe, env=environment, capture_output=True).returncode == 0
    os.environ["XLA_FLAGS"] = QUICK if known else ""

# They need more than the tests do, and have no example to run.
collect_ignore_glob = ["mutants/*"]

# Before anything imports jaxticket, so that every annotation is checked; where float is asked for,
# int is one too, as type checkers have it.
TOWER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook("jaxticket", TOWER)

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# Before the backend starts, so that one process can test 1, 2 and 8 devices.
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling makes first examples slow, and a shared machine makes all of them slow.
settings.register_profile("jaxticket", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("jaxticket")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run tests marked slow too")
    parser.addoption("--slow-part", metavar="K/N", help="run the K-th of N parts of them too")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes five seconds or more; runs with --slow")


def pytest_collection_modifyitems(config, items):
    """Leaves out slow tests, unless they are asked for by the option or by their names."""
    named = any("::" in argument for argument in config.args)
    default = "1/1" if named or config.option.slow else "0/1"
    part, parts = map(int, (config.option.slow_part or default).split("/"))

    def chosen(item):
        if item.get_closest_marker("slow") is None:
            return True
        return part > 0 and zlib.crc32(item.nodeid.encode()) % parts == part - 1

    config.hook.pytest_deselected(items=[item for item in items if not chosen(item)])
    items[:] = [item for item in items if chosen(item)]


@pytest.fixture
def unchecked():
    """For laws of what users pass by mistake: for them nothing checks annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def full_compilation():
    """For the few laws that only a program that XLA optimises could break."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
