"""The reader of screen text: decoded frames of a video -> segments, block by block.

Frames are decoded five times a second, and one a second is recognised, as well as the first frame of a shot. A frame that does
not differ from the last recognised one is skipped. The frames between two recognised ones tell when a line appeared or vanished.

A block is a minute. It begins with a frame that is recognised anew, and with the segments that reach this frame, but with nothing
else that is remembered. An interrupted run that resumes at the end of a block therefore has the result of an uninterrupted one.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from longview.core.timeline import Box, Segment, Span, merge_spans
from longview.model.screen_text.changes import (
    SmallFrame,
    changed_blocks,
    has_changed_in,
    reduce_frame,
    replace_regions,
    share_of_change,
)
from longview.model.screen_text.frame_text import FrameText
from longview.model.screen_text.lines import LineTracker, Sight
from longview.model.screen_text.readings import RecognizedLine
from longview.model.screen_text.recognizer import WHOLE, Pixels
from longview.model.screen_text.regions import changed_regions, touches
from longview.video.decoding.decoder import TimedFrames
from longview.video.shots import ShotDetector

DECODED_FPS = 5
"""Number of frames per second that are decoded: times are accurate to a fifth of a second."""
TICKS_PER_BLOCK = 60
"""Length of a block, in ticks of a second."""
CHUNK_FRAMES = 16
"""Number of frames that are decoded at once; they take 44 MB."""
MIN_SHOT_S = 0.5
"""Minimum time between the first frame of a shot that is recognised and the recognised frame before it, in seconds."""
HALF = 0.5
"""Share of a change from which a frame is after it."""


@dataclass(frozen=True)
class ScreenBlock:
    """The segments of a block."""

    done_s: float
    """Time up to which the video was read, in seconds."""
    segments: tuple[Segment, ...]
    """Segments in order of time: those that ended in this block, and those that reach its end."""
    recognized_frames: int
    """Number of frames that were recognised."""
    read_frames: int
    """Number of frames that were recognised, or that show what a recognised one shows."""
    uncovered: tuple[Span, ...]
    """Spans without decodable frames."""


def frame_times_s(span: Span, done_s: float) -> list[float]:
    """Return the times of the frames that are decoded from a time on, in seconds."""
    first = round((done_s - span.start_s) * DECODED_FPS)
    count = math.ceil(span.duration_s * DECODED_FPS)
    return [span.start_s + index / DECODED_FPS for index in range(first, max(first + 1, count))]


class _Block:
    """What is known of the frames of a block so far."""

    def __init__(self, first: SmallFrame, lines: Sequence[RecognizedLine], tick_s: float, segments: Sequence[Segment]) -> None:
        """`lines`: those of the first frame. `segments`: those that reach it, at `tick_s`."""
        self.tracker = LineTracker(segments)
        self.shots = ShotDetector()
        self.lines = tuple(lines)
        """The lines of the last frame."""
        self.recognized = first
        """What was recognised: each region as it was in the last frame in which it was read. Slow changes elsewhere add up."""
        self.before = first
        """The last frame that was recognised or skipped."""
        self.between: list[SmallFrame] = []
        """The frames since then."""
        # A video may begin with a frame at a later time than 0.
        time_s = max(tick_s, first.time_s)
        self.tracker.update(Sight(time_s, lines, is_unchanged=lambda _: False, changed_at_s=lambda _: time_s))

    def stay(self, frame: SmallFrame, time_s: float) -> None:
        """Note a frame without a change."""
        self.tracker.stay(time_s, sightings=1)
        self.before, self.between = frame, []

    def update(
        self, frame: SmallFrame, time_s: float, lines: Sequence[RecognizedLine], regions: Sequence[Box] = (WHOLE,)
    ) -> None:
        """Process a frame at a time at which it is on screen. `lines`: those in the regions that were read."""
        lines = [*(line for line in self.lines if not touches(line.box, regions)), *lines]
        blocks = changed_blocks(self.before, frame)
        sight = Sight(
            time_s,
            lines,
            is_unchanged=lambda box: not has_changed_in(blocks, box),
            changed_at_s=lambda box: self._changed_at_s(frame, box),
        )
        self.tracker.update(sight)
        self.lines = tuple(lines)
        self.recognized = replace_regions(self.recognized, frame, regions)
        self.before = frame
        self.between = []

    def _changed_at_s(self, frame: SmallFrame, box: Box) -> float:
        """Return the time of the first frame from which on a box shows what it shows in a frame, in seconds."""
        time_s = frame.time_s
        for earlier in reversed(self.between):
            if share_of_change(self.before, frame, earlier, box) < HALF:
                break
            time_s = earlier.time_s
        return time_s


class ScreenReader:
    """Reads the text of one video from its frames in order."""

    def __init__(self, text: FrameText, span: Span, *, done_s: float, open_segments: Sequence[Segment] = ()) -> None:
        """`span`: the part of the video that is read. `done_s`: where this run begins, the end of a block.

        `open_segments`: the segments that reach `done_s`.
        """
        self._text, self._span = text, span
        self._tick = round(done_s - span.start_s)
        self._open = tuple(open_segments)
        self._block: _Block | None = None
        self._recognized_frames = self._read_frames = 0
        self._uncovered: list[Span] = []

    @property
    def _tick_s(self) -> float:
        """Time of the next tick, in seconds."""
        return self._span.start_s + self._tick

    def blocks(self, chunks: Iterable[TimedFrames]) -> Iterator[ScreenBlock]:
        """Yield the blocks of a video.

        Raises:
            ScreenTextFailed: a model failed. Cancelled: the operation was cancelled.
        """
        pending: tuple[float, Pixels] | None = None
        for chunk in chunks:
            self._uncovered += chunk.undecodable
            for time_s, pixels in zip(chunk.times_s, chunk.frames, strict=True):
                if pending is not None:
                    yield from self._show(*pending, until_s=float(time_s))
                pending = float(time_s), pixels
        if pending is None:
            # No frame can be decoded from here on: the open segments stay as they are.
            yield self._ended_block(self._span.end_s, self._open)
            return
        yield from self._show(*pending, until_s=self._span.end_s)
        self._end(*pending)
        yield self._ended_block(self._span.end_s, ())

    def _show(self, time_s: float, pixels: Pixels, until_s: float) -> Iterator[ScreenBlock]:
        """Read a frame that is on screen until a time; yield the blocks that end meanwhile."""
        small = reduce_frame(pixels, time_s)
        is_cut = self._block is not None and self._block.shots.starts_shot(pixels)
        is_seen = False
        while self._tick_s < until_s:
            if self._block is None or self._tick % TICKS_PER_BLOCK == 0:
                yield from self._begin_block(small, pixels)
            elif is_seen:
                self._block.stay(small, self._tick_s)
            else:
                self._see(small, pixels, self._tick_s)
            is_seen = True
            self._tick += 1
        if self._block is None or is_seen:
            return
        if is_cut and time_s - self._block.before.time_s >= MIN_SHOT_S:
            self._see(small, pixels, time_s)
        else:
            self._block.between.append(small)

    def _begin_block(self, small: SmallFrame, pixels: Pixels) -> Iterator[ScreenBlock]:
        """Begin a block at the tick, with a frame that is recognised anew; yield the block that ends there."""
        self._text.forget()
        # An interrupted run has counted the first frame of the run that resumes it.
        self._read_frames += self._block is not None or self._tick == 0
        lines = self._recognize(pixels)
        if self._block is not None:
            self._block.update(small, self._tick_s, lines)
            self._block.tracker.close_gone()
            block = self._ended_block(self._tick_s, self._block.tracker.open_segments())
            # A line that ended with the block is considered open, as by a run that finds it in the library.
            self._open = tuple(segment for segment in block.segments if segment.span.end_s >= block.done_s)
            yield block
        self._block = _Block(small, lines, self._tick_s, self._open)
        self._block.shots.starts_shot(pixels)

    def _end(self, time_s: float, pixels: Pixels) -> None:
        """Read the last frame, and end all lines with the span."""
        assert self._block is not None
        if self._block.between:
            self._see(self._block.between.pop(), pixels, time_s)
        self._block.tracker.stay(self._span.end_s)
        self._block.tracker.close_all()

    def _see(self, small: SmallFrame, pixels: Pixels, time_s: float) -> None:
        """Read the regions of a frame that differ from what was recognised before."""
        assert self._block is not None
        self._read_frames += 1
        blocks = changed_blocks(self._block.recognized, small)
        if blocks.any():
            regions = changed_regions(blocks, [line.box for line in self._block.lines]) or (WHOLE,)
            self._block.update(small, time_s, self._recognize(pixels, regions), regions)
        else:
            self._block.stay(small, time_s)

    def _recognize(self, pixels: Pixels, regions: Sequence[Box] = (WHOLE,)) -> tuple[RecognizedLine, ...]:
        self._recognized_frames += 1
        return self._text.read(pixels, regions)

    def _ended_block(self, done_s: float, open_segments: Sequence[Segment]) -> ScreenBlock:
        closed_segments = self._block.tracker.take_closed() if self._block else []
        segments, uncovered = _in_order([*closed_segments, *open_segments]), merge_spans(self._uncovered)
        block = ScreenBlock(done_s, segments, self._recognized_frames, self._read_frames, uncovered)
        self._recognized_frames = self._read_frames = 0
        return block


def _in_order(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    return tuple(sorted(segments, key=lambda item: (item.span, item.box.top if item.box else 0.0, item.text)))
