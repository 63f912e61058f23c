"""Longview's command line in subprocesses, over one library, as a user runs it; every run has a time limit."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_LIMIT_S = 600.0
"""Maximum time of one command, in seconds."""


class UnexpectedResult(Exception):
    """A command did not do what was expected; the message has both."""


@dataclass(frozen=True)
class Outcome:
    """How a run of a command ended."""

    status: int
    document: dict[str, Any]
    message: str
    """What was printed on stderr, in one line."""
    seconds: float

    @property
    def error(self) -> str:
        """The sentence of the error, wherever the document has it."""
        own = self.document.get("error") or {}
        of_sources = [source["error"] or {} for video in self.document.get("videos", []) for source in video.get("sources", [])]
        return " ".join(next((error["message"] for error in [own, *of_sources] if error), self.message).split())


@dataclass(frozen=True)
class Commands:
    """The command line over one library, with the options that choose the model."""

    library: Path
    model_options: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()
    """Further settings, as environment variables."""

    def run(self, *words: str) -> Outcome:
        """Run a command with `--json`, and return how it ended.

        Raises:
            UnexpectedResult: it did not end in time, or printed no document.
        """
        start = time.monotonic()
        command = [sys.executable, "-m", "longview.app", *words, "--library", str(self.library), *self.model_options, "--json"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"} | dict(self.settings)
        try:
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise UnexpectedResult(f"expected `{words[0]}` to end, got nothing for {COMMAND_LIMIT_S:g} s") from error
        try:
            document = json.loads(run.stdout)
        except ValueError as error:
            raise UnexpectedResult(
                f"expected a document of `{words[0]}`, got {run.stdout[-200:]!r} {run.stderr[-400:]}"
            ) from error
        return Outcome(run.returncode, document, " ".join(run.stderr.split()), time.monotonic() - start)

    def read(self, *words: str) -> dict[str, Any]:
        """Run a command that must succeed, and return its document.

        Raises:
            UnexpectedResult: it failed.
        """
        outcome = self.run(*words)
        if outcome.status:
            raise UnexpectedResult(f"expected `{words[0]}` to succeed, got exit status {outcome.status}: {outcome.error}")
        return outcome.document
