"""Runs the experiment: `python -m experiments.supermask`."""

from experiments.common.command_line import run_main
from experiments.supermask import main

if __name__ == "__main__":
    run_main(main)
