"""Runs the experiment: `python -m experiments.verdict`."""

from experiments.common.command_line import run_main
from experiments.verdict import main

if __name__ == "__main__":
    run_main(main)
