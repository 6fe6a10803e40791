"""Runs the experiment: `python -m experiments.retraining`."""

from experiments.common.command_line import run_main
from experiments.retraining import main

if __name__ == "__main__":
    run_main(main)
