"""The command `longview`, also as `python -m longview.app`."""

import os
import sys

from longview.app.cli import CANCELLED_EXIT_CODE


def load_verbs() -> None:
    """Import the modules that register the verbs."""
    import longview.app.cli.backup
    import longview.app.cli.check
    import longview.app.cli.commands
    import longview.app.cli.evaluate
    import longview.app.cli.export
    import longview.app.cli.indexing
    import longview.app.cli.jobs
    import longview.app.cli.library
    import longview.app.cli.models
    import longview.app.cli.plan
    import longview.app.cli.serve
    import longview.app.cli.words  # noqa: F401


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        # The imports take half a second, in which the user may press Ctrl-C.
        load_verbs()
        from longview.app.cli.console import run
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(CANCELLED_EXIT_CODE)
    run()


if __name__ == "__main__":
    main()
