"""Runs the experiment: `python -m experiments.levels`."""

from experiments.common.command_line import run_main
from experiments.levels import main

if __name__ == "__main__":
    run_main(main)
