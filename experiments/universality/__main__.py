"""Runs the experiment: `python -m experiments.universality`."""

from experiments.common.command_line import run_main
from experiments.universality import main

if __name__ == "__main__":
    run_main(main)
