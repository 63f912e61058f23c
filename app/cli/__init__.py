"""The command line: one function for each command."""

CANCELLED_EXIT_CODE = 130
"""Exit code after Ctrl-C: 128 plus the number of the signal, as shells have it."""
