"""Runs the experiment: `python -m experiments.at_init`."""

from experiments.at_init import main
from experiments.common.command_line import run_main

if __name__ == "__main__":
    run_main(main)
