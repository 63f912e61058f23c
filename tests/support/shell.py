"""The command line as a process over one library, as a user runs it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from longview.app.cli.group import cli
from tests.support.warm_process import VARIABLES, start_command


def environment(library: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a process that uses this library."""
    return os.environ | VARIABLES | {"LONGVIEW_LIBRARY": str(library)} | variables


@dataclass(frozen=True)
class Shell:
    """The command line over one library folder."""

    library: Path

    def run(
        self, *words: str, code: int = 0, stdin: str = "", timeout_s: float = 240.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with these environment variables, and check its exit code."""
        with start_command(words, environment(self.library, **variables)) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == code, stderr
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def json(self, *words: str, code: int = 0, timeout_s: float = 240.0) -> Any:
        """Run a command with `--json`, and return its document."""
        return json.loads(self.run(*words, "--json", code=code, timeout_s=timeout_s).stdout)

    def call(self, *words: str, code: int = 0) -> Any:
        """Return the document of a command that runs in this process, which spares its start; errors of usage excepted."""
        result = CliRunner().invoke(cli, [*words, "--json"], env={"LONGVIEW_LIBRARY": str(self.library)})
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)
