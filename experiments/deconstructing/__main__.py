"""Runs the experiment: `python -m experiments.deconstructing`."""

from experiments.common.command_line import run_main
from experiments.deconstructing import main

if __name__ == "__main__":
    run_main(main)
