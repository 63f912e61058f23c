"""llama.cpp's server of a checkpoint in GGUF, from the package xllamacpp, which has no command for it.

    python benchmarks/servers/serve_gguf.py FOLDER --name NAME --port PORT --context TOKENS

It runs in the environment of the server (`benchmarks.servers.model_servers`), so it imports nothing of Longview.
"""

import argparse
import signal
from pathlib import Path

import xllamacpp


def main() -> None:
    """Serve the checkpoint until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, required=True)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = str(options.folder / "demo.gguf")
    params.mmproj.path = str(options.folder / "mmproj-demo.gguf")
    params.model_alias = {options.name}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_ctx = options.context
    # The context is divided by the number of requests that are answered at a time.
    params.n_parallel = 1
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print(f"llama.cpp {xllamacpp.__version__} at {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
