"""A pool of sessions. A window is decoded and prefilled once, and answers questions until its memory is needed for another."""

import logging
import threading
import time
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from weakref import WeakSet

from pydantic import BaseModel

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import Engine, VideoSession, WindowRequest
from longview.model.engine.planner import Planner
from longview.model.errors import OutOfMemory
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from longview.video.sampling_plan import FRAMES_PER_PATCH, SamplingPlan, Window

log = logging.getLogger(__name__)

MAX_WAIT_S = 300.0
"""Maximum time that an operation waits for the memory of sessions that are answering, in seconds."""
CONTEXT_BACKOFF = 0.75
"""Maximum size of later windows, as a share of the tokens of a window that did not fit."""


@dataclass(frozen=True)
class _Key:
    content_hash: str
    times_s: tuple[float, ...]
    size: tuple[int, int]

    @property
    def patch_period_s(self) -> float:
        """Time between two temporal patches, in seconds."""
        gaps = len(self.times_s) - 1
        return FRAMES_PER_PATCH * (self.times_s[-1] - self.times_s[0]) / gaps if gaps else 0.0


class SessionPool:
    """The sessions of one engine. If they need more than `memory_bytes` together, the least recently used sessions are evicted.

    By default `memory_bytes` is what the engine reserves for KV caches. Evicted sessions are offloaded to the host's memory, up
    to `host_bytes`, and move back without being decoded again. Safe for several threads.
    """

    def __init__(
        self,
        engine: Engine,
        decoder: Decoder,
        *,
        memory_bytes: int | None = None,
        host_bytes: int = 0,
        context_tokens: int | None = None,
        takes_transcript: bool = False,
    ) -> None:
        """`takes_transcript`: whether windows have tokens for the transcript; see `longview.video.sampling_plan.Budget`."""
        self.engine = engine
        self.decoder = decoder
        self.planner = Planner(engine, decoder, context_tokens=context_tokens, takes_transcript=takes_transcript)
        self._memory_bytes = engine.kv_cache_bytes if memory_bytes is None else memory_bytes
        self._host_bytes = host_bytes
        self._reserved_bytes: dict[_Key, int] = {}
        """Memory of the sessions that are being opened."""
        self._sessions: OrderedDict[_Key, VideoSession] = OrderedDict()
        self._unpinned_keys: set[_Key] = set()
        """Sessions that `release` ends."""
        self._offloaded_sessions: OrderedDict[_Key, VideoSession] = OrderedDict()
        self._evicted_sessions: WeakSet[VideoSession] = WeakSet()
        """Sessions that were evicted without being offloaded. As long as a caller uses one, it still takes device memory."""
        self._lock = threading.Lock()
        self._opening: dict[_Key, threading.Lock] = {}

    def generate_text(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> str:
        """Return the whole reply to a prompt without a video. If memory is short, all sessions are evicted first.

        Raises:
            OutOfMemory: the device cannot hold the prompt even then. Cancelled: the operation was cancelled.
        """
        try:
            return self._generate_text(prompt, max_new_tokens, schema, progress)
        except OutOfMemory:
            log.warning("out of memory for a prompt; all sessions were evicted")
        # Outside the except block, whose traceback would keep the memory.
        self._free_device_memory(progress)
        return self._generate_text(prompt, max_new_tokens, schema, progress)

    def _generate_text(self, prompt: str, max_new_tokens: int, schema: type[BaseModel] | None, progress: Progress) -> str:
        generation = self.engine.generate_text(prompt, max_new_tokens=max_new_tokens, schema=schema, progress=progress)
        for _ in generation:
            pass
        return generation.text

    def session(
        self, video: VideoInfo, plan: SamplingPlan, window: Window, *, pin: bool = True, progress: Progress = NO_PROGRESS
    ) -> VideoSession:
        """Return the session of one window of a plan; open it if the pool does not hold it. `progress` follows the decoding.

        `pin`: keep the session for later questions. Without it, `release` ends the session unless another caller pinned it.

        If the device runs out of memory, all other sessions are evicted, those that are answering when they have ended, and the
        window is opened once more. If that fails too, the context of all later plans is lowered, unless other sessions still
        held memory.

        Raises:
            UnreadableVideo: no frame can be decoded.
            OutOfMemory: the device cannot hold the window; the message names the lowered context.
            Cancelled: the operation was cancelled.
        """
        capacity_tokens = plan.window_tokens[plan.windows.index(window)]
        try:
            return self._open(video, plan, window, capacity_tokens, pin, progress)
        except OutOfMemory:
            log.warning("out of memory at %d tokens; all other sessions are evicted", capacity_tokens)
        # Outside the except block, whose traceback would keep the memory.
        is_device_free = self._free_device_memory(progress)
        try:
            return self._open(video, plan, window, capacity_tokens, pin, progress)
        except OutOfMemory as error:
            message = str(error)
        if not is_device_free or self._sessions:
            raise OutOfMemory(f"{message} Other questions are using the memory now; ask again when they are answered.")
        with self._lock:
            reserved_tokens = self.engine.reserved_tokens
            lowered_tokens = reserved_tokens + int((capacity_tokens - reserved_tokens) * CONTEXT_BACKOFF)
            self.planner.context_tokens = min(self.planner.context_tokens, lowered_tokens)
        raise OutOfMemory(f"{message} The context limit is now {self.planner.context_tokens} tokens. Ask again.")

    def _free_device_memory(self, progress: Progress) -> bool:
        """Evict all sessions, and wait for those that callers still use. Return whether no session holds memory any more.

        Raises:
            Cancelled: the operation was cancelled while it waited.
        """
        deadline_s = time.monotonic() + MAX_WAIT_S
        while True:
            with self._lock:
                self._evicted_sessions.update(self._sessions.values())
                self._sessions.clear()
                evicted_sessions = list(self._evicted_sessions)
            is_busy = any(session.is_busy for session in evicted_sessions)
            if not is_busy or time.monotonic() > deadline_s:
                return not evicted_sessions
            # Drop the reference: it would keep the memory of the sessions alive.
            del evicted_sessions
            progress.raise_if_cancelled()
            time.sleep(CANCEL_POLL_S)

    def find_open(self, video: VideoInfo, span: Span, *, max_patch_period_s: float) -> VideoSession | None:
        """Return an open session whose window contains a span, with at most this patch period; None if the pool has none."""
        with self._lock:
            keys = [
                key
                # Those on the device last: they are taken first.
                for sessions in (self._offloaded_sessions, self._sessions)
                for key, session in sessions.items()
                if key.content_hash == video.content_hash
                and session.window.start_s <= span.start_s
                and span.end_s <= session.window.end_s
                and key.patch_period_s <= max_patch_period_s
            ]
        return self._lookup(keys[-1], pin=False) if keys else None

    def discard(self, content_hash: str | None = None) -> None:
        """End all sessions of a video whose file changed meanwhile, because they may show frames of another video.

        None: all sessions, because a served model turned out to take less than they send.
        """
        with self._lock:
            for sessions in (self._sessions, self._offloaded_sessions):
                for key in [key for key in sessions if content_hash in (None, key.content_hash)]:
                    del sessions[key]
            self._unpinned_keys &= {*self._sessions, *self._offloaded_sessions}

    def vacate(self) -> None:
        """Free the device of all sessions that do not answer now. The host keeps those for which it has room."""
        with self._lock:
            evicted_sessions = self._evict(keep=0, memory_bytes=0)
        _offload(evicted_sessions)

    def release(self, session: VideoSession) -> None:
        """End a session, unless a caller pinned it."""
        with self._lock:
            for sessions in (self._sessions, self._offloaded_sessions):
                for key in [key for key, other in sessions.items() if other is session and key in self._unpinned_keys]:
                    del sessions[key]
            self._unpinned_keys &= {*self._sessions, *self._offloaded_sessions}

    def _open(
        self, video: VideoInfo, plan: SamplingPlan, window: Window, capacity_tokens: int, pin: bool, progress: Progress
    ) -> VideoSession:
        key = _Key(video.content_hash, window.times_s, (plan.height, plan.width))
        if (open_session := self._lookup(key, pin=pin)) is not None:
            return open_session
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        # Two callers that request the same window open it once.
        with progress.holding(opening):
            if (open_session := self._lookup(key, pin=pin)) is not None:
                return open_session
            try:
                # Evict before the new session allocates, or both would have to fit; `_reserved_bytes` also counts other openings.
                self._make_room(key, self.engine.session_bytes(capacity_tokens))
                decoded = self.decoder.frames_played_at(video, window.times_s, plan.height, plan.width, progress=progress)
                with closing(decoded) as frames:
                    request = WindowRequest(window.span, capacity_tokens, window.clock_offset_s, video.duration_s)
                    session = self.engine.open_session(frames, request, progress=progress)
            finally:
                with self._lock:
                    self._reserved_bytes.pop(key, None)
                    self._opening.pop(key, None)
            with self._lock:
                self._sessions[key] = session
                if pin:
                    self._unpinned_keys.discard(key)
                else:
                    self._unpinned_keys.add(key)
                evicted_sessions = self._evict(keep=1)
        _offload(evicted_sessions)
        return session

    def _lookup(self, key: _Key, *, pin: bool) -> VideoSession | None:
        with self._lock:
            if pin:
                self._unpinned_keys.discard(key)
            if (offloaded_session := self._offloaded_sessions.pop(key, None)) is not None:
                # Its next question moves it back to the device.
                self._sessions[key] = offloaded_session
            if key not in self._sessions:
                return None
            self._sessions.move_to_end(key)
            session = self._sessions[key]
            evicted_sessions = self._evict(keep=1)
        _offload(evicted_sessions)
        return session

    def _make_room(self, key: _Key, size_bytes: int) -> None:
        with self._lock:
            self._reserved_bytes[key] = size_bytes
            evicted_sessions = self._evict(keep=0)
        _offload(evicted_sessions)

    def _evict(self, *, keep: int, memory_bytes: int | None = None) -> list[VideoSession]:
        """Evict the least recently used sessions until all fit, but never the last `keep` and none that is answering.

        `memory_bytes`: what they may take; by default the memory of the pool. Return those that the host can hold.
        """
        memory_bytes = self._memory_bytes if memory_bytes is None else memory_bytes
        offloaded_sessions = []
        for key in [*self._sessions][: len(self._sessions) - keep]:
            if self._device_bytes() <= memory_bytes:
                break
            if self._sessions[key].is_busy:
                continue
            if self._sessions[key].size_bytes > self._host_bytes:
                # A name for it here would keep its memory.
                self._evicted_sessions.add(self._sessions.pop(key))
                continue
            self._offloaded_sessions[key] = self._sessions.pop(key)
            offloaded_sessions.append(self._offloaded_sessions[key])
            while sum(other.size_bytes for other in self._offloaded_sessions.values()) > self._host_bytes:
                self._offloaded_sessions.popitem(last=False)
        return offloaded_sessions

    def _device_bytes(self) -> int:
        """Return the device memory of all sessions: open, being opened, and evicted but still in use by a caller."""
        # A caller that still holds an offloaded session moves it back with its next question.
        busy_sessions = [session for session in self._offloaded_sessions.values() if session.is_busy]
        sessions = [*self._sessions.values(), *self._evicted_sessions, *busy_sessions]
        return sum(session.size_bytes for session in sessions) + sum(self._reserved_bytes.values())


def _offload(sessions: list[VideoSession]) -> None:
    """Move sessions to the host. Call it without the pool's lock, because it takes seconds."""
    for session in sessions:
        session.offload()
