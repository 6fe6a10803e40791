"""What jaxticket costs, measured: `python -m benchmarks` lists the commands."""
