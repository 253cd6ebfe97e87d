"""Benchmarks, each beside its floor and its peers in one process: ``python -m bench NAME [--json]``."""
