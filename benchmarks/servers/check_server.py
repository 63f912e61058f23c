"""Check of Longview against a real model server with the bundled checkpoint, on this machine's CPU.

    python -m benchmarks.servers.check_server --start vllm|transformers|llama.cpp [--input video|images] [--folder FOLDER]

It installs the server in an environment of its own, which stays in FOLDER with the log of the server; none of its packages is a
requirement of Longview. It starts the server with the bundled checkpoint, runs Longview's command line against it on rendered
videos, and compares the results with those of the local engine. The server is also killed in the middle of a reply, and started
with too small a context, which it publishes or a gateway hides. vLLM is checked twice: with frames sent as a video, whose results
must be equal to the local engine's, and as images, which show no motion (`server_checks.COMPARISONS` states what must be equal
then). The report is one Markdown file; the exit code is 1 if a check failed.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import platformdirs

from benchmarks.check_report import CheckReport, Row, Section
from benchmarks.hardware.engine_checks import check_rows
from benchmarks.servers import server_checks, server_failures
from benchmarks.servers.model_servers import (
    SERVERS,
    ServerKind,
    ServerProblem,
    Start,
    free_port,
    installed_version,
    make_environment,
    running,
)  # fmt: skip
from benchmarks.servers.server_checks import COMPARISONS, Reference

COLUMNS = ("check", "result", "figures")


def rows(kind: ServerKind, environment: Path, input_kind: str, reference: Reference, folder: Path) -> Iterator[Row]:
    """Run all checks of a server with one kind of input.

    Raises:
        ServerProblem: it did not start.
    """
    start = Start(free_port(), takes_video=input_kind == "video")
    with running(kind, environment, start) as server:
        yield from check_rows(server_checks.checks(server, input_kind, reference, folder / "served"))
    yield from check_rows(server_failures.checks(kind, environment, start, reference, folder))


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # As an exception, so that the server is stopped.
    sys.exit(128 + number)


def main(arguments: list[str] | None = None) -> None:
    """Run the checks; exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", choices=list(SERVERS), required=True, help="server to install, start and check")
    parser.add_argument("--input", choices=["video", "images"], help="how frames are sent; by default all ways of the server")
    parser.add_argument("--folder", type=Path, default=Path(platformdirs.user_cache_dir("longview")) / "servers")
    parser.add_argument("--output", type=Path, help="file of the report; by default check-NAME.md")
    options = parser.parse_args(arguments)
    kind = SERVERS[options.start]
    inputs = (options.input,) if options.input else kind.inputs
    if not set(inputs) <= set(kind.inputs):
        parser.error(f"{kind.name} takes {' and '.join(kind.inputs)} only")
    signal.signal(signal.SIGTERM, _stop)
    try:
        environment = make_environment(kind, options.folder.expanduser().absolute())
        name = f"{kind.distribution} {installed_version(kind, environment)}"
        sections = {input_kind: Section(f"{name}, {input_kind}", COLUMNS, COMPARISONS[input_kind]) for input_kind in inputs}
        report = CheckReport(options.output or Path(f"check-{kind.name}.md"), f"Longview with {name}", list(sections.values()))
        with tempfile.TemporaryDirectory(prefix="longview-") as temporary_name:
            folder = Path(temporary_name).resolve()
            print("The local engine captions the videos first …", flush=True)
            reference = server_checks.make_reference(folder)
            for input_kind, section in sections.items():
                for row in rows(kind, environment, input_kind, reference, folder / input_kind):
                    report.add(section, row)
                    print(f"{input_kind}: {' | '.join(row.cells)}", flush=True)
    except ServerProblem as problem:
        sys.exit(str(problem))
    print(f"\n{report.markdown()}\nWritten to {report.path}: {report.failures} rows failed.")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
