"""Benchmarks. Each is run as a module, prints a table, and compares with a peer in the same run."""
