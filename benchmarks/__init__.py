"""Benchmarks: run as modules, print tables, compare to a peer in the same run."""
