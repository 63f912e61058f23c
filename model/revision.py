"""The revision of downloaded weights: the commit of the Hugging Face Hub, which the name of their folder states."""

import re
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}")


def revision_of(folder: Path) -> str | None:
    """Return the commit of a snapshot in the Hugging Face cache, `…/snapshots/<commit>`; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name) else None
