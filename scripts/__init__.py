"""Command-line entry points; each is a thin Hydra program over `scripts.pipeline`."""
