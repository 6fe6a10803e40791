"""What all experiments share: the command line, the live progress, tables, verdicts."""
