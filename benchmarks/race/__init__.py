"""discgrade beside what else one could use, in one run: ``python -m benchmarks.race``."""
