"""Without PyTorch and transformers, or with a PyTorch that cannot be imported, all works but a model on this machine.

The commands run in one cold process: the process from which other tests fork has PyTorch already.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import longview.app
from longview.video.ffmpeg import ffmpeg_path
from tests.model.engine.conftest import script  # noqa: F401 (a fixture)
from tests.support.page_servers import free_port
from tests.support.scripted_server import VLLM, Script, streams
from tests.support.shell import environment

SAMPLE = Path(longview.app.__path__[0]) / "samples" / "narrated-slides.mp4"
REFUSING_HOOK = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "transformers", "accelerate", "xgrammar"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
"""
"""A `sitecustomize` that refuses the packages in a process and in its children."""
DAMAGED_TORCH = 'raise OSError("libtorch_cpu.so: cannot open shared object file")\n'
RUN_COMMANDS = """
import contextlib, io, json, os, signal, sys, threading, time, urllib.request
from longview.app.__main__ import main

def report(code, out, err):
    imported = sorted({"torch", "transformers", "accelerate", "xgrammar"} & set(sys.modules))
    print(json.dumps([code or 0, out, err, imported]), file=sys.__stdout__, flush=True)

def stop_when_served(port):
    for _ in range(600):
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            report(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).status, "", "")
            break
    os.kill(os.getpid(), signal.SIGINT)

for words in json.load(sys.stdin):
    sys.argv, code = ["longview", *words], 0
    if words[0] == "serve":
        # It ends the process.
        threading.Thread(target=stop_when_served, args=(words[2],), daemon=True).start()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as error:
            code = error.code
    report(code, out.getvalue(), err.getvalue())
"""
"""A program that runs the commands of its standard input one after another. A line for each has the exit code, or the status of
the page, what was printed, and which of the packages are imported."""
INSTALL = "install with: pip install -r requirements.txt"


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of the narrated sample, with its subtitles."""
    path = tmp_path_factory.mktemp("videos") / "talk.mp4"
    words = ["-v", "error", "-ss", "44.5", "-t", "6", "-i", str(SAMPLE), "-map", "0", "-c", "copy", str(path)]
    subprocess.run([ffmpeg_path(), *words], check=True)
    return path


def run_commands(folder: Path, *commands: list[str]) -> list[tuple[int, str, list[str]]]:
    """Run commands with the modules in `folder/modules`; return the exit code of each, what it printed, and what is imported."""
    path = os.pathsep.join([str(folder / "modules"), *filter(None, sys.path)])
    variables = {"PYTHONPATH": path, "LONGVIEW_CACHE": str(folder / "cache"), "LONGVIEW_DEVICE": "cpu"}
    completed = subprocess.run(
        [sys.executable, "-c", RUN_COMMANDS],
        env=environment(folder / "library", **variables),
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=240,
    )
    results = [json.loads(line) for line in completed.stdout.splitlines()]
    assert len(results) == len(commands), completed.stderr
    return [(code, out or err, imported) for code, out, err, imported in results]


def put_module(folder: Path, name: str, text: str) -> None:
    path = folder / "modules" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_all_but_a_local_model_works_without_torch(tmp_path: Path, talk: Path, script: Script) -> None:  # noqa: F811
    put_module(tmp_path, "sitecustomize.py", REFUSING_HOOK)
    script.models, script.fallback = [VLLM], streams("A lighthouse flashes at 4.2 seconds.")
    video, port = str(talk), free_port()
    results = run_commands(
        tmp_path,
        ["index", video, "--sources", "speech,screen_text,subtitles", "--json"],
        ["search", "rhythm", "--json"],
        ["ask", video, "How does every lighthouse flash?", "--json"],
        ["export", video, "--format", "srt", "--source", "speech"],
        ["plan", video, "--json"],
        ["models", "--json"],
        ["ask", video, "What is shown?", "--server", script.url, "--model", "m", "--json"],
        ["index", video, "--sources", "captions"],
        ["serve", "--port", str(port)],
    )
    codes, texts, imported = zip(*results, strict=True)
    assert codes[:-2] == (0,) * 7 and not any(imported), texts
    documents = [json.loads(text) if text.startswith("{") else text for text in texts]
    index, search, ask, export, plan, models, served_ask, captions, _ = documents
    statuses = {source["source"]: source["status"] for source in index["videos"][0]["sources"]}
    assert statuses == dict.fromkeys(("subtitles", "speech", "screen_text"), "indexed")
    assert search["moments"]
    assert "flashes" in ask["answer"] and "flashes" in export
    planned = {source["source"]: source for source in plan["sources"]}
    assert planned["captions"]["action"] == "skip" and INSTALL in planned["captions"]["reason"]
    assert "demo" in [model["name"] for model in models["models"]]
    assert INSTALL in models["recommendation"]["problem"]
    assert "A lighthouse flashes" in served_ask["answer"]
    # Whoever asks for captions is told what is missing.
    assert codes[-2] != 0 and INSTALL in captions
    assert codes[-1] == 200


def test_torch_that_cannot_be_imported_is_named_and_the_rest_works(tmp_path: Path, talk: Path) -> None:
    put_module(tmp_path, "torch/__init__.py", DAMAGED_TORCH)
    *failing, search = run_commands(
        tmp_path,
        ["index", str(talk), "--sources", "captions"],
        ["index", str(talk), "--sources", "captions"],
        ["doctor"],
        ["search", "rhythm"],
    )
    for code, text, _ in failing:
        assert code != 0 and "Traceback" not in text
        assert "torch, which is installed but cannot be imported (libtorch_cpu.so: cannot open shared object file)" in text
        assert "into a new environment" in text
    assert search[0] == 0
