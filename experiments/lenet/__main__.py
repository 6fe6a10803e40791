"""Runs the experiment: `python -m experiments.lenet`."""

from experiments.common.command_line import run_main
from experiments.lenet import main

if __name__ == "__main__":
    run_main(main)
