"""A short look at parts of a video before it is indexed: how much of it is speech, and how often its picture changes.

Both decide how long the sources take, and nothing in the file's header tells them: music takes a hundredth of the time of speech,
and a slide a tenth of that of a film. A look at a file of any length takes a second or two.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.video.decoding.audio import RATE_HZ, AudioBlock
from longview.video.errors import VideoError
from longview.video.probing.probe import VideoInfo

if TYPE_CHECKING:
    from longview.model.screen_text.changes import SmallFrame
    from longview.video.decoding.decoder import Decoder

log = logging.getLogger(__name__)

LineCounter = Callable[[NDArray[np.uint8]], int]
"""Counts the lines of text in a frame, RGB uint8 of shape (H, W, 3)."""

MAX_SOUND_S, SECTION_S = 60.0, 30.0
"""Maximum sound that is examined, and length of the sections in which it is, in seconds. A section holds one chunk of speech."""
MIN_PLACE_S, MAX_PLACES = 12.0, 5
"""Minimum time between two places whose pictures are examined, in seconds, and their maximum number."""
PLACE_FRAMES = 3
"""Number of frames at each place, a second apart."""
AFTER_KEY_FRAME_S = 1.0
"""Time from a key frame to the first frame that is examined, in seconds."""


@dataclass(frozen=True)
class SoundLook:
    """What a part of the sound tells of all of it."""

    chunks: float
    """Pieces of speech that are recognised one by one, per second of sound."""
    speech: float
    """Share of the sound that is speech."""


@dataclass(frozen=True)
class PictureLook:
    """What some frames tell of the pictures of a video."""

    changes: float
    """Share of the seconds after which something in the picture has changed."""
    area: float
    """Mean share of the picture that is read again after a change."""
    lines: float
    """Number of lines of text in a frame of the middle place."""
    differences: float = 1.0
    """Share of the neighbouring places whose pictures differ."""
    interval_s: float = 0.0
    """Mean time between neighbouring places, in seconds; 0 for a single one."""
    detection_s: float | None = None
    """Time in which they are sought in a frame on this machine now, in seconds; None: it was not measured."""


class MediaLook:
    """A look at one part of a video, which is taken when it is first needed."""

    def __init__(self, decoder: "Decoder", video: VideoInfo, span: Span, progress: Progress = NO_PROGRESS) -> None:
        """`progress`: for a cancellation."""
        self._decoder, self._video, self._span, self._progress = decoder, video, span, progress.child(0.0, 0.0)
        self._pictures: PictureLook | None = None
        self._sounds: dict[int, SoundLook | None] = {}

    def sound(self, stream_index: int) -> SoundLook | None:
        """Return what parts of the sound tell; None if it cannot be decoded.

        Raises:
            Cancelled: the operation was cancelled.
        """
        if stream_index not in self._sounds:
            self._sounds[stream_index] = self._look_at_sound(stream_index)
        return self._sounds[stream_index]

    def _look_at_sound(self, stream_index: int) -> SoundLook | None:
        from longview.model.speech.voice_activity import speech_chunks

        examined_s = chunks = speech_s = 0.0
        try:
            for section in _sections(self._span):
                blocks = list(self._blocks(stream_index, section))
                self._progress.raise_if_cancelled()
                examined_s += sum(len(block.samples) for block in blocks) / RATE_HZ
                for chunk in speech_chunks(blocks):
                    chunks += 1
                    speech_s += chunk.duration_s
        except VideoError as error:
            log.info("%s: the sound cannot be examined: %s", self._video.path.name, error)
        return SoundLook(chunks / examined_s, min(1.0, speech_s / examined_s)) if examined_s else None

    def _blocks(self, stream_index: int, section: Span) -> list[AudioBlock]:
        blocks = self._decoder.audio(
            self._video, stream_index, start_s=section.start_s, end_s=section.end_s, progress=self._progress
        )
        return list(blocks)

    def pictures(self, height: int, width: int, load_counter: Callable[[], LineCounter]) -> PictureLook | None:
        """Return what frames of a size tell; None if none can be decoded.

        `load_counter`: loads what counts the lines of text in a frame. It is called only if there is a frame, and before the time
        of a detection is measured, which tells how fast the machine is.

        Raises:
            Cancelled: the operation was cancelled. ModelError: the lines cannot be counted.
        """
        from longview.model.screen_text.changes import changed_blocks, reduce_frame
        from longview.model.screen_text.regions import changed_regions

        if self._pictures is not None:
            return self._pictures
        pairs = changes = area = 0.0
        earlier: SmallFrame | None = None
        differences: list[bool] = []
        samples: list[tuple[float, NDArray[np.uint8]]] = []
        for place_s in self._places():
            # Encoders put key frames where the picture changes: what follows just then would make each film look busy.
            start_s = place_s + AFTER_KEY_FRAME_S
            start_s = start_s if start_s + PLACE_FRAMES <= self._span.end_s else place_s
            moments_s = [start_s + second for second in range(PLACE_FRAMES) if start_s + second < self._span.end_s]
            try:
                decoded = list(self._decoder.frames_played_at(self._video, moments_s, height, width, progress=self._progress))
            except VideoError as error:
                log.info("%s: the pictures at %.1f s cannot be examined: %s", self._video.path.name, place_s, error)
                continue
            frames = [frame for chunk in decoded for frame in chunk.frames]
            pairs += len(moments_s) - 1
            small = [reduce_frame(frame, 0.0) for frame in frames]
            if small:
                if earlier is not None:
                    differences.append(bool(changed_blocks(earlier, small[0]).any()))
                earlier = small[-1]
                samples.append((place_s, frames[-1]))
            for before, after in zip(small, small[1:], strict=False):
                blocks = changed_blocks(before, after)
                if blocks.any():
                    regions = changed_regions(blocks, ())
                    changes += 1
                    area += (
                        1.0
                        if regions is None
                        else sum((region.right - region.left) * (region.bottom - region.top) for region in regions)
                    )
        if not samples:
            return None
        count_lines = load_counter()
        started_s = time.monotonic()
        lines = count_lines(samples[len(samples) // 2][1])
        detection_s = time.monotonic() - started_s
        self._pictures = PictureLook(
            changes / pairs if pairs else 1.0,
            area / changes if changes else 1.0,
            float(lines),
            sum(differences) / len(differences) if differences else 1.0,
            (samples[-1][0] - samples[0][0]) / max(1, len(samples) - 1),
            detection_s,
        )
        return self._pictures

    def _places(self) -> Sequence[float]:
        """Return the times of the places, each at a key frame, from which on decoding is quick."""
        count = max(1, min(MAX_PLACES, int(self._span.duration_s / MIN_PLACE_S)))
        length_s = self._span.duration_s / count
        middles_s = [self._span.start_s + (number + 0.5) * length_s for number in range(count)]
        keys_s = self._decoder.key_times(self._video, middles_s, self._progress)
        return sorted({key_s for key_s in keys_s if self._span.contains(key_s)}) or middles_s[:1]


def _sections(span: Span) -> list[Span]:
    """Return the parts of the sound that are examined: all of a short one, else sections at equal distances."""
    if span.duration_s <= MAX_SOUND_S:
        return [span]
    count = round(MAX_SOUND_S / SECTION_S)
    length_s = span.duration_s / count
    starts_s = [span.start_s + (number + 0.5) * length_s - SECTION_S / 2 for number in range(count)]
    return [Span(start_s, start_s + SECTION_S) for start_s in starts_s]
