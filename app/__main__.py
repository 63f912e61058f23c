"""The command `longview`, also as `python -m longview.app`."""

import os
import sys

from longview.app.cli import CANCELLED_EXIT_CODE


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Its threads wait actively for each other, and the products of the sentence encoder are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        # The imports take time, in which the user may press Ctrl-C.
        from longview.app.cli.console import run
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(CANCELLED_EXIT_CODE)
    run()


if __name__ == "__main__":
    main()
