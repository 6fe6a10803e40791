"""Runs the experiment: `python -m experiments.koopman`."""

from experiments.common.command_line import run_main
from experiments.koopman import main

if __name__ == "__main__":
    run_main(main)
