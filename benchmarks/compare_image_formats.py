"""Image formats for the frames of a served model: size, encoding time and accuracy.

    python -m benchmarks.compare_image_formats [--minutes 1] [--videos 24] [--seed 0] [--frames 24]

Prints two Markdown tables. The first has the captions of the demo checkpoint on the local engine, one reply per window, of the
videos of `longview eval shapes`; every decoded frame is encoded and decoded again before it is prefilled. The second has frames
of footage that is harder to compress than shapes, at the sizes of Qwen3-VL's plans for a minute of it, without a model.

Not every server decodes WebP: llama.cpp decodes images with stb_image, which has no WebP. vLLM opens each frame of a `video/jpeg`
data URL with Pillow, whatever its format is.
"""

import argparse
import io
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.check_report import line
from benchmarks.compare_plans import timestamp_tokens
from longview.app.evaluation.datasets import LabelledVideo, render_video
from longview.app.evaluation.runner import Scores
from longview.core.timeline import Event, Span
from longview.model.engine.base import REPLY_RESERVE_TOKENS, WindowRequest
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.profiles import find_profile
from longview.model.engine.local import LocalEngine
from longview.model.engine.planner import Planner
from longview.model.tasks.captioner import MAX_CAPTION_TOKENS
from longview.model.tasks.replies import parse_events
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.ffmpeg import ffmpeg_path
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampler import plan_sampling
from longview.video.sampling_plan import Budget

UNTOUCHED = "untouched"
FORMATS: dict[str, dict[str, Any]] = {
    UNTOUCHED: {},
    **{f"{name} {quality}": {"format": name, "quality": quality} for name in ("JPEG", "WebP") for quality in (75, 85, 90, 95)},
    "JPEG 85 4:4:4": {"format": "JPEG", "quality": 85, "subsampling": 0},
}
"""Options of `Image.save`. By default, JPEG and WebP halve the resolution of colour in both directions (4:2:0)."""
SLIDES = Path(__file__).parents[1] / "app" / "samples" / "narrated-slides.mp4"
FOOTAGE_S = 60
FOOTAGE = {
    "test pattern with noise": f"testsrc2=s=1280x720:r=2:d={FOOTAGE_S},noise=alls=12:allf=t",
    "Mandelbrot zoom": f"mandelbrot=s=1280x720:r=2,trim=duration={FOOTAGE_S}",
}
"""Sources of FFmpeg, 1280x720."""
CONTEXT_TOKENS = (16_384, 262_144)
"""Contexts of the plans for footage."""


@dataclass
class Cost:
    """What a format costs, over all encoded frames: bytes, CPU time, and mean squared errors in squared steps of 8 bits."""

    frames: int = 0
    size_bytes: int = 0
    encoding_s: float = 0.0
    squared_error: float = 0.0

    def cells(self) -> list[str]:
        """Return bytes per frame, milliseconds per frame and PSNR."""
        error = self.squared_error / self.frames
        psnr = f"{10 * math.log10(255**2 / error):.1f}" if error else "–"
        return [f"{self.size_bytes / self.frames:,.0f}", f"{1000 * self.encoding_s / self.frames:.2f}", psnr]


def recode(frames: NDArray[np.uint8], name: str, cost: Cost) -> NDArray[np.uint8]:
    """Encode and decode each frame, (N, height, width, 3), and add its cost."""
    cost.frames += len(frames)
    if not FORMATS[name]:
        cost.size_bytes += frames.nbytes
        return frames
    decoded_frames = np.empty_like(frames)
    for index, frame in enumerate(frames):
        buffer = io.BytesIO()
        start_s = time.thread_time()
        Image.fromarray(frame).save(buffer, **FORMATS[name])
        cost.encoding_s += time.thread_time() - start_s
        cost.size_bytes += buffer.tell()
        decoded_frames[index] = np.asarray(Image.open(buffer).convert("RGB"))
        cost.squared_error += float(np.square(decoded_frames[index].astype(np.float32) - frame).mean())
    return decoded_frames


class CaptionComparison:
    """Captions of one engine from the same frames in every format."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine, self._decoder = engine, Decoder()
        self._planner = Planner(engine, self._decoder)
        self._costs = {name: Cost() for name in FORMATS}
        self._scores = {name: Scores() for name in FORMATS}
        self._equal = dict.fromkeys(FORMATS, 0)

    def add_video(self, labels: LabelledVideo) -> None:
        """Caption one video in every format."""
        video = probe(labels.path)
        events = self._caption(video)
        for name in FORMATS:
            self._equal[name] += (Counter(events[UNTOUCHED]) & Counter(events[name])).total()
            self._scores[name].add_captions(labels.events, events[name])
            for text in dict.fromkeys(event.text for event in labels.events):
                spans = [event.span for event in events[name] if event.text == text]
                self._scores[name].add_localization(labels.truth(text), spans)

    def _caption(self, video: VideoInfo) -> dict[str, list[Event]]:
        """Return the events of the replies about all windows, by format."""
        prompts = self._engine.checkpoint.profile.prompts
        plan = self._planner.plan(video, "caption")
        events: dict[str, list[Event]] = {name: [] for name in FORMATS}
        for window, tokens in zip(plan.windows, plan.window_tokens, strict=True):
            chunks = list(self._decoder.frames_played_at(video, window.times_s, plan.height, plan.width))
            for name, cost in self._costs.items():
                recoded_chunks = [replace(chunk, frames=recode(chunk.frames, name, cost)) for chunk in chunks]
                session = self._engine.open_session(
                    recoded_chunks, WindowRequest(window.span, capacity_tokens=tokens, clock_offset_s=window.clock_offset_s)
                )
                generation = session.generate(prompts.captions(session), max_new_tokens=MAX_CAPTION_TOKENS)
                for _ in generation:
                    pass
                events[name] += parse_events(generation.text, session).events
        return events

    def table(self) -> list[str]:
        """Return the lines of the table, one row per format."""
        heads = ["format", "bytes a frame", "ms a frame", "PSNR dB", "precision", "recall", "mIoU", "boundaries: median s"]
        rows = [line([*heads, "90 % s", "captions equal to untouched"]), "|---" * (len(heads) + 2) + "|"]
        total = len(self._scores[UNTOUCHED].caption_precision)
        for name, cost in self._costs.items():
            scores = self._scores[name].summary()
            captions, spans = scores["captions"], scores["grounding"]
            values = [captions["precision"], captions["recall"], spans["mIoU"], spans["edge_median_s"], spans["edge_p90_s"]]
            rows.append(line([name, *cost.cells(), *(f"{value:.3f}" for value in values), f"{self._equal[name]} of {total}"]))
        return rows


def footage_table(folder: Path, count: int) -> list[str]:
    """Return the lines of the table of footage, one row per kind, size and format. `count`: maximum of frames of each kind."""
    heads = ["footage", "frame", "format", "bytes a frame", "ms a frame", "PSNR dB"]
    rows = [line(heads), "|---" * len(heads) + "|"]
    paths = {"slides": SLIDES}
    for number, (kind, source) in enumerate(FOOTAGE.items()):
        paths[kind] = folder / f"footage-{number}.mp4"
        encoding = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-pix_fmt", "yuv420p"]
        command = [ffmpeg_path(), "-loglevel", "error", "-f", "lavfi", "-i", source, *encoding, str(paths[kind])]
        subprocess.run(command, check=True)
    for kind, path in paths.items():
        for context_tokens in CONTEXT_TOKENS:
            chunks = planned_frames(probe(path), context_tokens, count)
            _, height, width, _ = chunks[0].frames.shape
            for name in FORMATS:
                cost = Cost()
                for chunk in chunks:
                    recode(chunk.frames, name, cost)
                rows.append(line([kind, f"{width}x{height}", name, *cost.cells()]))
    return rows


def planned_frames(video: VideoInfo, context_tokens: int, count: int) -> list[TimedFrames]:
    """Decode evenly spaced frames of the plan of Qwen3-VL for the first minute of a video."""
    budget = Budget(context_tokens, REPLY_RESERVE_TOKENS, find_profile("qwen3_vl").trained_range, timestamp_tokens)
    plan = plan_sampling(video, budget, "caption", span=Span(0.0, min(FOOTAGE_S, video.duration_s)))
    times_s = plan.windows[0].times_s
    return list(Decoder().frames_played_at(video, times_s[:: -(-len(times_s) // count)], plan.height, plan.width))


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="length of each captioned video")
    parser.add_argument("--videos", type=int, default=24, help="number of captioned videos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=24, help="maximum number of frames of each kind of footage")
    options = parser.parse_args(arguments)
    comparison = CaptionComparison(LocalEngine(find_checkpoint("demo")))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.videos):
            labels = render_video(Path(folder), minutes=options.minutes, number=number, seed=options.seed)
            print(labels.path.name, file=sys.stderr)
            comparison.add_video(labels)
        print("\n".join([*comparison.table(), "", *footage_table(Path(folder), options.frames)]))


if __name__ == "__main__":
    main()
