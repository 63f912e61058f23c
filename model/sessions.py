"""Sessions that are kept: a window of a video is decoded and prefilled once, then answers until memory runs short."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from model.engine import Engine, VideoSession
from model.errors import OutOfMemory
from video.decoder import Decoder, TimedFrames
from video.probe import VideoInfo
from video.sampler import Budget, Purpose, SamplingPlan, Window, overlaps, plan
from video.shots import cuts
from video.timeline import Span

log = logging.getLogger(__name__)

LOWERED_TO = 0.75
"""Of a video's tokens that did not fit, how many are tried next."""

OnPart = Callable[[float], None]
"""Told the part done, 0 to 1, while something long is worked through: with every piece that is decoded and every token that is
said. What it raises ends the work (`model.errors.Stopped`), and frees the device."""
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
        self._memory_bytes = engine.session_bytes if memory_bytes is None else memory_bytes
        self._host_bytes = host_bytes
        self._room_bytes: dict[_Key, int] = {}
        """Of those that are being opened."""
        self._sessions: OrderedDict[_Key, VideoSession] = OrderedDict()
        self._passing: set[_Key] = set()
        """Of the sessions those that nobody has asked to keep."""
        self._parked: OrderedDict[_Key, VideoSession] = OrderedDict()
        self._known_cuts: dict[tuple[str, tuple[Span, ...]], tuple[float, ...]] = {}
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
        on_part: OnPart | None = None,
    ) -> SamplingPlan:
        """The plan for this engine's checkpoint and context; see `video.sampler.plan`.

        Where windows of the purpose "caption" overlap, the video is looked into for cuts at which they can meet; `on_part` is
        told that this goes on.
        """
        budget = Budget(
            context_tokens=min(self.context_tokens, context_tokens or self.context_tokens),
            reserved_tokens=self.engine.reserved_tokens,
            trained=self.engine.checkpoint.trained,
            marker_tokens=self.engine.marker_tokens,
        )
        start_s, end_s = (span.start_s, span.end_s) if span else (None, None)
        found = plan(video, budget, purpose, start_s=start_s, end_s=end_s, fps=fps, max_frames=max_frames)
        if purpose != "caption" or len(found.windows) == 1 or self.decoder.key_frames_only:
            return found
        cuts_s = self._cuts(video, tuple(overlaps(found)), on_part)
        return plan(video, budget, purpose, start_s=start_s, end_s=end_s, fps=fps, max_frames=max_frames, cuts_s=cuts_s)

    def _cuts(self, video: VideoInfo, regions: tuple[Span, ...], on_part: OnPart | None) -> tuple[float, ...]:
        key = (video.content_hash, regions)
        if key not in self._known_cuts:

            def followed() -> Iterator[Span]:
                for region in regions:
                    if on_part:
                        on_part(0.0)
                    yield region

            self._known_cuts[key] = cuts(self.decoder, video, followed())
        return self._known_cuts[key]

    def tell(self, prompt: str, *, max_new_tokens: int, item: type[BaseModel] | None = None) -> str:
        """The whole reply to a text alone; where there is no room for it, all videos are let go first.

        Raises:
            OutOfMemory: there is no room even then.
        """
        try:
            return self._told(prompt, max_new_tokens, item)
        except OutOfMemory:
            log.warning("out of memory for a text; all videos were let go")
        # Outside the except block, whose traceback would keep the memory.
        with self._lock:
            self._sessions.clear()
        return self._told(prompt, max_new_tokens, item)

    def _told(self, prompt: str, max_new_tokens: int, item: type[BaseModel] | None) -> str:
        generation = self.engine.tell(prompt, max_new_tokens=max_new_tokens, item=item)
        for _ in generation:
            pass
        return generation.text

    def session(
        self, video: VideoInfo, plan: SamplingPlan, window: Window, *, keep: bool = True, on_part: OnPart | None = None
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
                return self._opened(video, plan, window, room_tokens, keep, on_part)
            except OutOfMemory as error:
                said = str(error)
            # Outside the except block, whose traceback would keep the memory.
            with self._lock:
                self._sessions.clear()
                if is_last:
                    reserved = self.engine.reserved_tokens
                    lowered = reserved + int((room_tokens - reserved) * LOWERED_TO)
                    self.context_tokens = min(self.context_tokens, lowered)
            log.warning("out of memory at %d tokens; all other videos were let go", room_tokens)
        raise OutOfMemory(f"{said} From now on at most {self.context_tokens} tokens are read at once: ask again.")

    def let_go(self, session: VideoSession) -> None:
        """Keep a session no longer, unless someone asked for it to be kept."""
        with self._lock:
            for kept in (self._sessions, self._parked):
                for key in [key for key, other in kept.items() if other is session and key in self._passing]:
                    del kept[key]
            self._passing &= {*self._sessions, *self._parked}

    def _opened(
        self, video: VideoInfo, plan: SamplingPlan, window: Window, room_tokens: int, keep: bool, on_part: OnPart | None
    ) -> VideoSession:
        key = _Key(video.content_hash, window.times_s, (plan.height, plan.width))
        if (kept := self._kept(key, keep=keep)) is not None:
            return kept
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        # Two users who ask for the same window at once read it once.
        with opening:
            if (kept := self._kept(key, keep=keep)) is not None:
                return kept
            # Room is made before the new one takes it, or both would have to fit at once; also for others that open now.
            self._make_room(key, room_tokens * self.engine.kv_bytes_per_token)
            frames: Iterable[TimedFrames] = self.decoder.read(video, window.times_s, plan.height, plan.width)
            if on_part:
                frames = _followed(frames, len(window.times_s), on_part)
            try:
                session = self.engine.open(frames, window.span, room_tokens=room_tokens, clock_offset_s=window.clock_offset_s)
            finally:
                with self._lock:
                    del self._room_bytes[key]
            with self._lock:
                self._sessions[key] = session
                if keep:
                    self._passing.discard(key)
                else:
                    self._passing.add(key)
                self._opening.pop(key, None)
                leaving = self._leaving(keep=1)
        _park(leaving)
        return session

    def _kept(self, key: _Key, *, keep: bool) -> VideoSession | None:
        with self._lock:
            if keep:
                self._passing.discard(key)
            if (parked := self._parked.pop(key, None)) is not None:
                # It comes back to the device when it is asked.
                self._sessions[key] = parked
            if key not in self._sessions:
                return None
            self._sessions.move_to_end(key)
            session = self._sessions[key]
            leaving = self._leaving(keep=1)
        _park(leaving)
        return session

    def _make_room(self, key: _Key, room_bytes: int) -> None:
        with self._lock:
            self._room_bytes[key] = room_bytes
            leaving = self._leaving(keep=0)
        _park(leaving)

    def _leaving(self, *, keep: int) -> list[VideoSession]:
        """Let the least recently used go until all fit, but never the last `keep`; returns those that the host has room for."""
        leaving = []
        while len(self._sessions) > keep and _bytes_of(self._sessions) + sum(self._room_bytes.values()) > self._memory_bytes:
            key, session = self._sessions.popitem(last=False)
            if session.size_bytes <= self._host_bytes:
                self._parked[key] = session
                leaving.append(session)
                while _bytes_of(self._parked) > self._host_bytes:
                    self._parked.popitem(last=False)
        return leaving


def _park(sessions: list[VideoSession]) -> None:
    """Move sessions to the host; not under the pool's lock, because that takes seconds and others need it."""
    for session in sessions:
        session.park()


def _bytes_of(sessions: OrderedDict[_Key, VideoSession]) -> int:
    return sum(session.size_bytes for session in sessions.values())


def _followed(frames: Iterable[TimedFrames], wanted: int, on_part: OnPart) -> Iterator[TimedFrames]:
    read = 0
    for chunk in frames:
        read += len(chunk)
        on_part(min(1.0, read / wanted))
        yield chunk
