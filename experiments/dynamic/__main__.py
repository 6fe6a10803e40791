"""Runs the experiment: `python -m experiments.dynamic`."""

from experiments.common.command_line import run_main
from experiments.dynamic import main

if __name__ == "__main__":
    run_main(main)
