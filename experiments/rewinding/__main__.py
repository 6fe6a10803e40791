"""Runs the experiment: `python -m experiments.rewinding`."""

from experiments.common.command_line import run_main
from experiments.rewinding import main

if __name__ == "__main__":
    run_main(main)
