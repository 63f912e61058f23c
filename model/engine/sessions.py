"""Sessions that are kept: a window of a video is decoded and prefilled once, then answers until memory runs short."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from longview.model.engine.base import Engine, VideoSession
from longview.model.errors import OutOfMemory
from longview.video.decoder import Decoder, TimedFrames
from longview.video.probe import VideoInfo
from longview.video.sampler import Budget, Purpose, SamplingPlan, Window, plan, window_overlaps
from longview.video.shots import shot_starts
from longview.video.timeline import Span

log = logging.getLogger(__name__)

CONTEXT_BACKOFF = 0.75
"""Of a video's tokens that did not fit, how many are tried next."""

OnFraction = Callable[[float], None]
"""Told the part done, 0 to 1, while something long is worked through: with every piece that is decoded and every token that is
said. What it raises ends the work (`longview.model.errors.Stopped`), and frees the device."""
Tick = Callable[[], None]
"""The same for a step whose part of the whole does not matter."""


@dataclass(frozen=True)
class _Key:
    content_hash: str
    times_s: tuple[float, ...]
    size: tuple[int, int]


class SessionPool:
    """The sessions of one engine, least recently used out when they take more than `memory_bytes` together.

    Without `memory_bytes` that is what the engine has to spare. Those that go are parked in the host's memory as far as
    `host_bytes` allow, and come back without being read again.
    """

    def __init__(
        self,
        engine: Engine,
        decoder: Decoder,
        *,
        memory_bytes: int | None = None,
        host_bytes: int = 0,
        context_tokens: int | None = None,
    ) -> None:
        self.engine = engine
        self.decoder = decoder
        self.context_tokens = min(engine.context_tokens, context_tokens or engine.context_tokens)
        self._memory_bytes = engine.kv_cache_bytes if memory_bytes is None else memory_bytes
        self._host_bytes = host_bytes
        self._reserved_bytes: dict[_Key, int] = {}
        """Of those that are being opened."""
        self._sessions: OrderedDict[_Key, VideoSession] = OrderedDict()
        self._unpinned: set[_Key] = set()
        """Of the sessions those that nobody has asked to keep."""
        self._offloaded: OrderedDict[_Key, VideoSession] = OrderedDict()
        self._shot_starts: dict[tuple[str, tuple[Span, ...]], tuple[float, ...]] = {}
        self._lock = threading.Lock()
        self._opening: dict[_Key, threading.Lock] = {}

    def plan(
        self,
        video: VideoInfo,
        purpose: Purpose = "watch",
        *,
        span: Span | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        context_tokens: int | None = None,
        on_part: OnFraction | None = None,
    ) -> SamplingPlan:
        """The plan for this engine's checkpoint and context; see `longview.video.sampler.plan`.

        Where windows of the purpose "caption" overlap, the video is looked into for cuts at which they can meet; `on_part` is
        told that this goes on.
        """
        budget = Budget(
            context_tokens=min(self.context_tokens, context_tokens or self.context_tokens),
            reserved_tokens=self.engine.reserved_tokens,
            trained=self.engine.checkpoint.trained_range,
            timestamp_tokens=self.engine.timestamp_tokens,
        )
        start_s, end_s = (span.start_s, span.end_s) if span else (None, None)
        found = plan(video, budget, purpose, start_s=start_s, end_s=end_s, fps=fps, max_frames=max_frames)
        if purpose != "caption" or len(found.windows) == 1 or self.decoder.key_frames_only:
            return found
        cuts_s = self._find_shot_starts(video, tuple(window_overlaps(found)), on_part)
        return plan(video, budget, purpose, start_s=start_s, end_s=end_s, fps=fps, max_frames=max_frames, shot_starts_s=cuts_s)

    def _find_shot_starts(self, video: VideoInfo, regions: tuple[Span, ...], on_part: OnFraction | None) -> tuple[float, ...]:
        key = (video.content_hash, regions)
        if key not in self._shot_starts:

            def followed() -> Iterator[Span]:
                for region in regions:
                    if on_part:
                        on_part(0.0)
                    yield region

            self._shot_starts[key] = shot_starts(self.decoder, video, followed())
        return self._shot_starts[key]

    def generate(self, prompt: str, *, max_new_tokens: int, item: type[BaseModel] | None = None) -> str:
        """The whole reply to a text alone; where there is no room for it, all videos are let go first.

        Raises:
            OutOfMemory: there is no room even then.
        """
        try:
            return self._generate(prompt, max_new_tokens, item)
        except OutOfMemory:
            log.warning("out of memory for a text; all videos were let go")
        # Outside the except block, whose traceback would keep the memory.
        with self._lock:
            self._sessions.clear()
        return self._generate(prompt, max_new_tokens, item)

    def _generate(self, prompt: str, max_new_tokens: int, item: type[BaseModel] | None) -> str:
        generation = self.engine.generate(prompt, max_new_tokens=max_new_tokens, item=item)
        for _ in generation:
            pass
        return generation.text

    def session(
        self, video: VideoInfo, plan: SamplingPlan, window: Window, *, pin: bool = True, on_part: OnFraction | None = None
    ) -> VideoSession:
        """The session of one window of a plan, opened now if it is not kept; `on_part` follows the decoding.

        `keep`: others may ask for it later; without it, `let_go` ends it unless others did.

        If the device runs out of memory, all other sessions are given up and it is tried once more; then the budget of
        all plans to come is lowered.

        Raises:
            UnreadableVideo: no frame can be decoded.
            OutOfMemory: the device cannot hold it; says what was lowered.
        """
        room_tokens = plan.window_tokens[plan.windows.index(window)]
        for is_last in (False, True):
            try:
                return self._open(video, plan, window, room_tokens, pin, on_part)
            except OutOfMemory as error:
                said = str(error)
            # Outside the except block, whose traceback would keep the memory.
            with self._lock:
                self._sessions.clear()
                if is_last:
                    reserved = self.engine.reserved_tokens
                    lowered = reserved + int((room_tokens - reserved) * CONTEXT_BACKOFF)
                    self.context_tokens = min(self.context_tokens, lowered)
            log.warning("out of memory at %d tokens; all other videos were let go", room_tokens)
        raise OutOfMemory(f"{said} From now on at most {self.context_tokens} tokens are read at once: ask again.")

    def release(self, session: VideoSession) -> None:
        """Keep a session no longer, unless someone asked for it to be kept."""
        with self._lock:
            for kept in (self._sessions, self._offloaded):
                for key in [key for key, other in kept.items() if other is session and key in self._unpinned]:
                    del kept[key]
            self._unpinned &= {*self._sessions, *self._offloaded}

    def _open(
        self, video: VideoInfo, plan: SamplingPlan, window: Window, capacity_tokens: int, pin: bool, on_part: OnFraction | None
    ) -> VideoSession:
        key = _Key(video.content_hash, window.times_s, (plan.height, plan.width))
        if (kept := self._lookup(key, pin=pin)) is not None:
            return kept
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        # Two users who ask for the same window at once read it once.
        with opening:
            if (kept := self._lookup(key, pin=pin)) is not None:
                return kept
            # Room is made before the new one takes it, or both would have to fit at once; also for others that open now.
            self._make_room(key, capacity_tokens * self.engine.kv_bytes_per_token)
            frames: Iterable[TimedFrames] = self.decoder.frames_played_at(video, window.times_s, plan.height, plan.width)
            if on_part:
                frames = _report_decoding(frames, len(window.times_s), on_part)
            try:
                session = self.engine.open_session(
                    frames, window.span, capacity_tokens=capacity_tokens, clock_offset_s=window.clock_offset_s
                )
            finally:
                with self._lock:
                    del self._reserved_bytes[key]
            with self._lock:
                self._sessions[key] = session
                if pin:
                    self._unpinned.discard(key)
                else:
                    self._unpinned.add(key)
                self._opening.pop(key, None)
                leaving = self._evict(keep=1)
        _offload(leaving)
        return session

    def _lookup(self, key: _Key, *, pin: bool) -> VideoSession | None:
        with self._lock:
            if pin:
                self._unpinned.discard(key)
            if (parked := self._offloaded.pop(key, None)) is not None:
                # It comes back to the device when it is asked.
                self._sessions[key] = parked
            if key not in self._sessions:
                return None
            self._sessions.move_to_end(key)
            session = self._sessions[key]
            leaving = self._evict(keep=1)
        _offload(leaving)
        return session

    def _make_room(self, key: _Key, room_bytes: int) -> None:
        with self._lock:
            self._reserved_bytes[key] = room_bytes
            leaving = self._evict(keep=0)
        _offload(leaving)

    def _evict(self, *, keep: int) -> list[VideoSession]:
        """Let the least recently used go until all fit, but never the last `keep`; returns those that the host has room for."""
        leaving = []
        while (
            len(self._sessions) > keep and _total_bytes(self._sessions) + sum(self._reserved_bytes.values()) > self._memory_bytes
        ):
            key, session = self._sessions.popitem(last=False)
            if session.size_bytes <= self._host_bytes:
                self._offloaded[key] = session
                leaving.append(session)
                while _total_bytes(self._offloaded) > self._host_bytes:
                    self._offloaded.popitem(last=False)
        return leaving


def _offload(sessions: list[VideoSession]) -> None:
    """Move sessions to the host; not under the pool's lock, because that takes seconds and others need it."""
    for session in sessions:
        session.offload()


def _total_bytes(sessions: OrderedDict[_Key, VideoSession]) -> int:
    return sum(session.size_bytes for session in sessions.values())


def _report_decoding(frames: Iterable[TimedFrames], wanted: int, on_part: OnFraction) -> Iterator[TimedFrames]:
    read = 0
    for chunk in frames:
        read += len(chunk)
        on_part(min(1.0, read / wanted))
        yield chunk
