"""Ours beside its peers, in the same process: `python -m benchmarks` runs everything and prints one table."""
