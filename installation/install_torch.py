"""Install the CPU build of PyTorch on Linux without an accelerator, before the other requirements are installed.

The default build for Linux requires gigabytes of CUDA libraries. PyTorch's own index has a build without them.

That index is the only one for one call of pip, with `--no-deps` and the exact versions of torch and torchvision that it lists.
It is not an extra index of the installation that follows: pip takes the highest version of a name from any of its indexes, so
whoever can publish on one of them could replace any requirement (dependency confusion). The requirements of torch come from the
usual index. torchvision comes with torch, because its default build links CUDA libraries and cannot be imported beside torch's
CPU build.

The Makefile runs this file by its path and isolated (`python -I`) in the new environment, which has nothing but pip.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from http.client import HTTPException, HTTPMessage
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds (https://pytorch.org/get-started/locally)."""
VARIABLE = "LONGVIEW_TORCH_INDEX"
"""Environment variable: the address of another index, or `default` for the default build."""
PACKAGES = ("torch", "torchvision")
"""The packages whose builds must match; their versions are in constraints.txt."""
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
MAX_ANSWER_S = 3.0
"""Maximum time until the index has answered, in seconds. Resolution of the name is included."""
MAX_PAGE_BYTES = 8 << 20
"""Maximum size of a page of the index, which lists all builds of a package (below 1 MB in 2026)."""
PAGE_TYPES = ("text/html", "application/vnd.pypi.simple.v1+html")
"""Media types of a page of an index (https://packaging.python.org/specifications/simple-repository-api)."""
PIP_SOURCES = ("index-url", "pypi-url", "extra-index-url", "find-links", "no-index", "constraint")
"""Options of pip that decide where packages come from, or which versions."""
ACCELERATOR_PROGRAMS = ("nvidia-smi", "rocminfo", "rocm-smi", "amd-smi")
ACCELERATOR_PATHS = ("dev/nvidia0", "proc/driver/nvidia", "usr/lib/wsl/lib/nvidia-smi", "etc/nv_tegra_release", "opt/rocm")
"""Files of the drivers of NVIDIA (also in WSL and on Jetson) and of ROCm. /dev/kfd is none of them: every AMD laptop has it."""


class IndexUnusable(Exception):
    """The index is not used; the message continues a sentence that begins with its host."""


def pinned_versions(constraints: str) -> dict[str, str]:
    """Return the versions of PACKAGES in the text of a constraints file."""
    pins = dict(line.split("==", 1) for line in constraints.splitlines() if "==" in line and not line.startswith("#"))
    return {name: pins[name].strip() for name in PACKAGES}


def is_installed(pins: Mapping[str, str]) -> bool:
    """Tell whether this environment has a torch that must be kept.

    A CPU build is not kept if it has another version, or if torchvision is missing beside it, as after an interruption: the
    installation that follows would replace or complete it with the default build.
    """
    builds: dict[str, str] = {}
    for name in PACKAGES:
        try:
            builds[name] = version(name)
        except PackageNotFoundError:
            continue
    if "torch" not in builds:
        return False
    return not builds["torch"].endswith("+cpu") or all(builds.get(name, "").partition("+")[0] == pins[name] for name in PACKAGES)


def has_accelerator(search_path: str | None = None, root: Path = Path("/")) -> bool:
    """Tell whether a driver or a tool of NVIDIA or ROCm is in the search path (by default PATH) or below `root`."""
    programs = any(shutil.which(program, path=search_path) for program in ACCELERATOR_PROGRAMS)
    return programs or any((root / path).exists() for path in ACCELERATOR_PATHS)


def is_pip_configured() -> bool:
    """Tell whether a variable or a file of pip says where packages come from. Settings that pip cannot read count as such."""
    listing = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "config", "list"], capture_output=True, text=True, errors="replace", check=False
    )
    # A line is `global.find-links='/wheels'`, or `:env:.find-links='/wheels'`; pip ignores an empty value.
    settings = [line.partition("=") for line in listing.stdout.splitlines()]
    return listing.returncode != 0 or any(
        key.rpartition(".")[2] in PIP_SOURCES and value not in ("''", '""') for key, _, value in settings
    )


class SameHostRedirects(HTTPRedirectHandler):
    """Redirects within one host, such as the one to the address with a slash at its end."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request for the new address.

        Raises:
            IndexUnusable: The new address is on another host.
        """
        if urlsplit(req.full_url)[:2] != urlsplit(newurl)[:2]:
            raise IndexUnusable("redirects to another host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class LinkedFiles(HTMLParser):
    """Collects the names of the files to which a page links."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Add the file name of a link."""
        if tag == "a":
            self.names += [unquote(urlsplit(value).path.rpartition("/")[2]) for key, value in attrs if key == "href" and value]


def read_page(url: str) -> str:
    """Return a page of an index.

    Raises:
        IndexUnusable: It cannot be read, is on another host, or is not a page of an index.
    """
    request = Request(url, headers={"Accept": f"{PAGE_TYPES[1]}, {PAGE_TYPES[0]};q=0.1"})  # noqa: S310 - the scheme is checked
    try:
        with build_opener(SameHostRedirects).open(request, timeout=MAX_ANSWER_S) as answer:
            if answer.status != 200 or answer.headers.get_content_type() not in PAGE_TYPES:
                raise IndexUnusable("does not answer as a package index")
            page: bytes = answer.read(MAX_PAGE_BYTES + 1)
    except HTTPError as error:
        raise IndexUnusable(f"answers with the status {error.code}") from error
    except TimeoutError as error:
        raise IndexUnusable(f"did not answer within {MAX_ANSWER_S:g} s") from error
    except (OSError, HTTPException, ValueError) as error:
        raise IndexUnusable("cannot be reached") from error
    if len(page) > MAX_PAGE_BYTES:
        raise IndexUnusable("does not answer as a package index")
    return page.decode("utf-8", errors="replace")


def wheel_names(page: str) -> Iterator[str]:
    """Yield the names of the wheels that a page of an index links.

    Raises:
        IndexUnusable: The page is not HTML.
    """
    links = LinkedFiles()
    try:
        links.feed(page)
    except (AssertionError, ValueError) as error:  # of html.parser and urlsplit, for what they cannot parse
        raise IndexUnusable("does not answer as a package index") from error
    yield from (name.removesuffix(".whl") for name in links.names if name.endswith(".whl"))


def c_library_version() -> tuple[int, ...] | None:
    """Return the version of glibc; None with another C library."""
    try:
        name, _, number = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return tuple(int(part) for part in number.split(".")[:2]) if name == "glibc" else None
    except (AttributeError, OSError, ValueError):
        return None


def is_platform_usable(tag: str, machine: str, glibc: tuple[int, ...] | None) -> bool:
    """Tell whether a wheel with this platform tag runs here (https://packaging.python.org/specifications/platform-compatibility-tags).

    Tags before manylinux2014 are left out: no torch that Longview supports has one.
    """
    kind, _, end = tag.partition(machine)
    if glibc is None or end:
        return False
    if kind in ("linux_", "manylinux2014_"):
        return kind == "linux_" or glibc >= (2, 17)
    numbers = kind.removeprefix("manylinux_").rstrip("_").split("_")
    return (
        kind.startswith("manylinux_")
        and len(numbers) == 2
        and all(number.isascii() and number.isdigit() and len(number) < 4 for number in numbers)
        and glibc >= tuple(map(int, numbers))
    )


def usable_labels(wheels: Iterator[str], name: str, pin: str) -> set[str]:
    """Return the local version labels (`cpu` of 2.13.0+cpu, or nothing) of the wheels of a version that are usable here."""
    interpreter = f"cp{sys.version_info.major}{sys.version_info.minor}"
    abi = interpreter + getattr(sys, "abiflags", "")
    machine, glibc = os.uname().machine, c_library_version()
    labels = set()
    for wheel in wheels:
        parts = wheel.split("-")
        if len(parts) not in (5, 6) or parts[0].lower() != name:
            continue
        public, _, label = parts[1].partition("+")
        is_tagged = interpreter in parts[-3].split(".") and abi in parts[-2].split(".")
        is_label = not label or (label.isascii() and label.replace(".", "").isalnum())
        if (
            public == pin
            and is_tagged
            and is_label
            and any(is_platform_usable(tag, machine, glibc) for tag in parts[-1].split("."))
        ):
            labels.add(label)
    return labels


def find_builds(index: str, pins: Mapping[str, str]) -> list[str]:
    """Return the requirements that choose one build of all packages on an index, such as `torch==2.13.0+cpu`.

    Raises:
        IndexUnusable: The index does not answer in time, or does not have them.
    """
    answers: SimpleQueue[set[str] | IndexUnusable] = SimpleQueue()

    def ask(name: str) -> None:
        try:
            answers.put(usable_labels(wheel_names(read_page(f"{index}/{name}/")), name, pins[name]))
        except IndexUnusable as error:
            answers.put(error)

    # No time limit of a socket covers the resolution of names, or a server that sends a byte a second; one of a thread does.
    for name in PACKAGES:
        threading.Thread(target=ask, args=(name,), daemon=True).start()
    end_s = time.monotonic() + MAX_ANSWER_S
    labels: list[set[str]] = []
    while len(labels) < len(PACKAGES):
        try:
            answer = answers.get(timeout=max(0.0, end_s - time.monotonic()))
        except Empty:
            raise IndexUnusable(f"did not answer within {MAX_ANSWER_S:g} s") from None
        if isinstance(answer, IndexUnusable):
            raise answer
        labels.append(answer)
    common = set.intersection(*labels)
    if not common:
        raise IndexUnusable(f"has no {' and '.join(f'{name} {pins[name]}' for name in PACKAGES)} for this Python and machine")
    label = "cpu" if "cpu" in common else max(common)
    return [f"{name}=={pins[name]}{'+' if label else ''}{label}" for name in PACKAGES]


def install(index: str, requirements: list[str]) -> None:
    """Install wheels from an index, and nothing else.

    Raises:
        IndexUnusable: pip could not install them.
    """
    options = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--index-url",
        index,
    ]
    result = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "install", *options, *requirements],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode:
        last_line = (result.stderr.strip().splitlines() or [f"pip ended with {result.returncode}"])[-1]
        raise IndexUnusable(f"failed to provide them ({''.join(filter(str.isprintable, last_line))[:200]})")


def host_of(index: str) -> str:
    """Return the host of an index, which messages name because the address may have a password.

    Raises:
        ValueError: This is not an address on the web.
    """
    address = urlsplit(index)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("no address on the web")
    return address.hostname


def main(environment: Mapping[str, str]) -> None:
    """Install the CPU build, or leave it to the installation that follows to install the default one."""
    chosen = environment.get(VARIABLE, "").strip()
    pins = pinned_versions(CONSTRAINTS.read_text(encoding="utf-8"))
    if not sys.platform.startswith("linux") or chosen == "default" or is_installed(pins):
        return
    if not chosen and (has_accelerator() or is_pip_configured()):
        return
    index = (chosen or CPU_INDEX).rstrip("/")
    try:
        host = host_of(index)
    except ValueError:
        sys.exit(f"{VARIABLE} is not the address of a package index; set it to one that begins with https://, or to `default`.")
    try:
        requirements = find_builds(index, pins)
        print(f"Installing {' and '.join(requirements)} from {host}; {VARIABLE}=default chooses the default build.", flush=True)
        install(index, requirements)
    except IndexUnusable as error:
        print(f"Installing the default build of PyTorch, which may take gigabytes, because {host} {error}.", flush=True)


if __name__ == "__main__":
    try:
        main(os.environ)
    except KeyboardInterrupt:
        sys.exit(130)
