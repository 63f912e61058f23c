"""Time from a cancellation to the end of an operation, on the bundled checkpoint, at random points of an index run and an answer.

    python -m benchmarks.bench_cancel [--times N]

Also the time to turn tokens into text piece by piece, as a ratio to decoding the whole reply again with every token.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers.decoders import DecodeStream
from transformers import AutoTokenizer

from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.app.streams import Stream
from longview.core.progress import Cancelled
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.video.synthetic import COLORS, render, sample_scene

DURATION_S = 120.0
MAX_DELAY_S = 2.0
REPLY_TOKENS = 1792


def seconds_to_end(stream: Stream[Any], delay_s: float) -> float | None:
    """Cancel a stream so many seconds after its start; return the seconds from then to its end, None if it ended before."""
    cancelled_s: list[float] = []

    def cancel() -> None:
        cancelled_s.append(time.perf_counter())
        stream.cancel()

    timer = threading.Timer(delay_s, cancel)
    timer.start()
    try:
        stream.result()
    except Cancelled:
        while stream.is_running:
            time.sleep(0.01)
        return time.perf_counter() - cancelled_s[0]
    timer.cancel()
    return None


def detokenization_ratio() -> tuple[float, float]:
    """Return the seconds to decode a reply piece by piece, and the ratio to decoding all of it with every token."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    words = tokenizer.encode('{"start": 12.5, "end": 20.0, "description": "A red circle moves up."}, ', add_special_tokens=False)
    tokens = (words * (REPLY_TOKENS // len(words) + 1))[:REPLY_TOKENS]
    start = time.perf_counter()
    stream = DecodeStream(skip_special_tokens=True)
    pieces = [stream.step(tokenizer.backend_tokenizer, token) or "" for token in tokens]
    streamed_s = time.perf_counter() - start
    start = time.perf_counter()
    text = ""
    for count in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:count], skip_special_tokens=True)
    whole_s = time.perf_counter() - start
    if "".join(pieces) != text:
        raise SystemExit("the two ways decode differently")
    return streamed_s, streamed_s / whole_s


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10, help="cancellations of each operation")
    options = parser.parse_args()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        app = Longview(Settings(library=Path(folder) / "library", model="demo", device="cpu", cpu_threads=1))
        path = render(Path(folder) / "scene.mp4", sample_scene(DURATION_S, 10, seed=1), DURATION_S)
        index_options = IndexOptions(keep_sessions=False)
        entry = app.index(path, index_options).result().entry

        def index_again() -> Stream[Any]:
            # Captions that are up to date are kept.
            app.parts.library.tracks.delete(entry.video_id, "captions")
            return app.index(path, index_options)

        operations: dict[str, Callable[[], Stream[Any]]] = {
            "index": index_again,
            "ask about a range": lambda: app.ask([entry], f"What happens between {rng.randint(1, 20)} and 110 seconds?"),
            "locate": lambda: app.locate(entry, f"a {rng.choice(list(COLORS))} ring"),
        }
        print("| operation | cancellations | median from cancel to end, s | maximum, s |\n|---|---|---|---|")
        for name, begin in operations.items():
            results = [seconds_to_end(begin(), rng.uniform(0.0, MAX_DELAY_S)) for _ in range(options.times)]
            seconds = [result for result in results if result is not None]
            print(f"| {name} | {len(seconds)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |")
    streamed_s, ratio = detokenization_ratio()
    print(f"\nDetokenisation of {REPLY_TOKENS:,} tokens: {streamed_s:.4f} s, {ratio:.4f} of decoding the whole reply each time.")


if __name__ == "__main__":
    main()
