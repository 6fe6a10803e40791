"""What is kept of a run, and how to get it back.

A run directory holds `config.json`, `environment.json`, `checkpoints/`, `results.nc`,
`summary.json` and `figures/`. `load` opens one; `RunDirectory` and `CheckpointStore` make one.
"""

from jaxticket.runs.checkpoints import CheckpointStore
from jaxticket.runs.comparing import Difference, differences
from jaxticket.runs.directory import RunDirectory, run_hash, run_path
from jaxticket.runs.environment import describe_environment, environment_differences
from jaxticket.runs.files import as_json, read_json, write_json
from jaxticket.runs.loading import Run, load
from jaxticket.runs.results import read_results, to_dataset, write_results

__all__ = [
    "CheckpointStore",
    "Difference",
    "Run",
    "RunDirectory",
    "as_json",
    "describe_environment",
    "differences",
    "environment_differences",
    "load",
    "read_json",
    "read_results",
    "run_hash",
    "run_path",
    "to_dataset",
    "write_json",
    "write_results",
]
