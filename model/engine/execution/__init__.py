"""Execution of a session: prefill, caches, and the check of whether the checkpoint knows the footage."""
