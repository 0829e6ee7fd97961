"""What is claimed, measured: each module is a command, ``python -m benchmarks.NAME --help``."""
