"""Runs the experiment: `python -m experiments.regurgitation`."""

from experiments.common.command_line import run_main
from experiments.regurgitation import main

if __name__ == "__main__":
    run_main(main)
