"""Runs the experiment: `python -m experiments.isometry`."""

from experiments.common.command_line import run_main
from experiments.isometry import main

if __name__ == "__main__":
    run_main(main)
