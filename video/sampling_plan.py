"""A sampling plan: the frames of a video that the model receives, in windows."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from longview.core.timeline import Span

PATCH_SIDE_PX = 32
"""Side of the square that becomes one visual token, in pixels: patches of 16, merged 2x2."""
FRAMES_PER_PATCH = 2
"""Frames in one temporal patch."""
WORDS_SHARE = 0.15
"""Maximum share of the context for the transcript of a window: what is said and shown in it, as text after the frames."""
WORDS_BASE_TOKENS = 128
"""Tokens for the sentences around the transcript of a window."""
WORDS_TOKENS_PER_S = 10.0
"""Tokens for the transcript of a second of video. 150 words a minute take 3.5 tokens a second, the times of a line every 4 s take
4, and a line of screen text every 10 s takes 2.5. (Measured with Qwen3-VL's tokenizer, speech alone takes 6.5 to 8.2 in two
English transcripts, and 11.2 in a Korean one.)"""
Purpose = Literal["qa", "caption", "refine"]
"""qa: one session for questions. caption: overlapping windows. refine: a short clip at the highest trained frame rate."""


@dataclass(frozen=True)
class TrainedRange:
    """The input sizes and times that a checkpoint was trained on; plans stay within them."""

    max_frames: int
    max_patches: int
    """Maximum number of temporal patches in one prompt."""
    max_visual_tokens: int
    min_tokens_per_patch: int
    max_tokens_per_patch: int
    min_frame_period_s: float
    max_frame_period_s: float
    max_timestamp_s: float
    """Maximum timestamp, in seconds; in later windows, timestamps count from the window's start."""
    frame_period_s: float = 0.5
    """Preferred time between two frames, in seconds."""
    caption_window_s: float = 180.0
    """Maximum caption window, in seconds: one reply must describe all its events accurately."""


@dataclass(frozen=True)
class Budget:
    """The token budget of one prompt."""

    context_tokens: int
    """Maximum tokens of prompt and reply together."""
    reserved_tokens: int
    """Tokens of `context_tokens` for chat template, question and reply."""
    trained_range: TrainedRange
    timestamp_tokens: Callable[[float], int]
    """Function that counts the tokens of a timestamp `<t seconds>` with vision start and end, for t in seconds."""
    takes_transcript: bool = False
    """Whether the checkpoint gets the transcript. Its tokens are reserved whether or not a video has one, so that the
    frames are the same with and without it."""

    def transcript_tokens(self, window_s: float) -> int:
        """Return the tokens that are reserved for the transcript of a window of `window_s` seconds."""
        if not self.takes_transcript:
            return 0
        return min(int(WORDS_SHARE * self.context_tokens), WORDS_BASE_TOKENS + math.ceil(WORDS_TOKENS_PER_S * window_s))

    def min_context_tokens(self, window_tokens: int, window_s: float) -> int:
        """Return the smallest context in which `window_tokens` fit beside what is reserved."""
        needed_tokens = self.reserved_tokens + window_tokens
        if not self.takes_transcript:
            return needed_tokens
        return min(
            math.ceil(needed_tokens / (1 - WORDS_SHARE)),
            needed_tokens + WORDS_BASE_TOKENS + math.ceil(WORDS_TOKENS_PER_S * window_s),
        )


@dataclass(frozen=True)
class Window:
    """The frames of one prompt."""

    span: Span
    times_s: tuple[float, ...]
    """Requested timestamps, increasing and evenly spaced: two per temporal patch, except that the last patch may have one."""
    frame_period_s: float
    """Time between two requested frames, in seconds."""
    clock_offset_s: float = 0.0
    """Seconds that are subtracted from times in the prompt: 0, or the window's start if it ends after the maximum timestamp."""

    @property
    def temporal_patches(self) -> int:
        """Number of temporal patches; a single last frame is repeated."""
        return math.ceil(len(self.times_s) / FRAMES_PER_PATCH)


@dataclass(frozen=True)
class SamplingPlan:
    """The frames of a request and their cost in tokens. No frame has been decoded yet."""

    purpose: Purpose
    windows: tuple[Window, ...]
    height: int
    """Frame height in pixels, a multiple of 32, as the width is."""
    width: int
    window_timestamp_tokens: tuple[int, ...]
    """For each window: tokens of its timestamps, with the vision start and end of each patch."""
    reserved_tokens: int
    """Tokens of each window for template, question and reply."""
    window_transcript_tokens: tuple[int, ...]
    """For each window: tokens that are reserved for its transcript; 0 for a checkpoint that does not take it."""
    kept_period_s: float | None = None
    """Time between the temporal patches that a token-saving engine keeps of a moving shot, in seconds; None: it keeps all."""
    kept_share: float = 1.0
    """Estimated share of the temporal patches that a token-saving engine keeps; see
    `longview.model.engine.execution.patch_selection`."""

    @property
    def span(self) -> Span:
        """Span from the start of the first window to the end of the last."""
        return Span(self.windows[0].span.start_s, self.windows[-1].span.end_s)

    @property
    def frames(self) -> int:
        """Number of frames in all windows; frames in an overlap count twice."""
        return sum(len(window.times_s) for window in self.windows)

    @property
    def temporal_patches(self) -> int:
        """Number of temporal patches in all windows."""
        return sum(window.temporal_patches for window in self.windows)

    @property
    def tokens_per_patch(self) -> int:
        """Visual tokens of one temporal patch."""
        return (self.height // PATCH_SIDE_PX) * (self.width // PATCH_SIDE_PX)

    @property
    def visual_tokens(self) -> int:
        """Visual tokens in all windows."""
        return self.temporal_patches * self.tokens_per_patch

    @property
    def timestamp_tokens(self) -> int:
        """Tokens of all timestamps, with the vision start and end of each patch."""
        return sum(self.window_timestamp_tokens)

    @property
    def kept_tokens(self) -> int:
        """Estimated visual and timestamp tokens that the engine keeps."""
        return round((self.visual_tokens + self.timestamp_tokens) * self.kept_share)

    @property
    def transcript_tokens(self) -> int:
        """Tokens that are reserved for the transcript of all windows."""
        return sum(self.window_transcript_tokens)

    @property
    def window_tokens(self) -> tuple[int, ...]:
        """For each window: tokens of its prompt and reply, which the budget limits."""
        return tuple(
            window.temporal_patches * self.tokens_per_patch + timestamp_tokens + transcript_tokens + self.reserved_tokens
            for window, timestamp_tokens, transcript_tokens in zip(
                self.windows, self.window_timestamp_tokens, self.window_transcript_tokens, strict=True
            )
        )

    @property
    def total_tokens(self) -> int:
        """Visual, timestamp, transcript and reserved tokens of all windows."""
        return self.visual_tokens + self.timestamp_tokens + self.transcript_tokens + self.reserved_tokens * len(self.windows)

    def without_windows(self, positions: Collection[int]) -> "SamplingPlan | None":
        """Return the plan of the other windows; None if there are none."""
        remaining = [position for position in range(len(self.windows)) if position not in positions]
        if not remaining:
            return None
        return replace(
            self,
            windows=tuple(self.windows[position] for position in remaining),
            window_timestamp_tokens=tuple(self.window_timestamp_tokens[position] for position in remaining),
            window_transcript_tokens=tuple(self.window_transcript_tokens[position] for position in remaining),
        )

    @property
    def patch_period_s(self) -> float:
        """Time between two temporal patches of a moving shot, in seconds: the time resolution of one pass."""
        return self.kept_period_s or FRAMES_PER_PATCH * self.windows[0].frame_period_s
