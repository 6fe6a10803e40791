"""Runs the experiment: `python -m experiments.connectivity`."""

from experiments.common.command_line import run_main
from experiments.connectivity import main

if __name__ == "__main__":
    run_main(main)
