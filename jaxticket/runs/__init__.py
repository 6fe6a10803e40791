"""What is kept of a run, and how to get it back.

A run directory holds `config.json`, `environment.json`, `checkpoints/`, `results.nc`,
`summary.json` and `figures/`. `load` opens one; `RunDirectory` and `CheckpointStore` make one.
"""

from jaxticket.runs.checkpoints import CheckpointStore
from jaxticket.runs.comparing import Difference, differences
from jaxticket.runs.directory import RunDirectory, check_run
from jaxticket.runs.environment import describe_environment, environment_differences
from jaxticket.runs.files import DamagedError, set_aside, storing
from jaxticket.runs.json_files import SCHEMA, as_json, read_json, write_json
from jaxticket.runs.loading import Run, load
from jaxticket.runs.naming import run_hash, run_path
from jaxticket.runs.reader import CheckpointReader
from jaxticket.runs.results import to_dataset
from jaxticket.runs.results_file import read_results, write_results

__all__ = [
    "SCHEMA",
    "CheckpointReader",
    "CheckpointStore",
    "DamagedError",
    "Difference",
    "Run",
    "RunDirectory",
    "as_json",
    "check_run",
    "describe_environment",
    "differences",
    "environment_differences",
    "load",
    "read_json",
    "read_results",
    "run_hash",
    "run_path",
    "set_aside",
    "storing",
    "to_dataset",
    "write_json",
    "write_results",
]
