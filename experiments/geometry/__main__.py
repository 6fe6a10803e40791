"""Runs the experiment: `python -m experiments.geometry`."""

from experiments.common.command_line import run_main
from experiments.geometry import main

if __name__ == "__main__":
    run_main(main)
