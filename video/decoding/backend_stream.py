"""The frames of one decoding process, with the fallback backend if the chosen one fails, for
`longview.video.decoding.decoder`."""

import bisect
import logging
from collections.abc import Iterator
from dataclasses import replace

from longview.core.progress import Progress
from longview.video.decoding.backends import FALLBACK, BackendName
from longview.video.decoding.backends.base import DecodedFrame, DecodeRequest
from longview.video.decoding.process_pool import ProcessPool
from longview.video.decoding.worker_client import DecodingProcess
from longview.video.errors import DecoderDied, UnreadableVideo
from longview.video.probing.probe import VideoInfo

log = logging.getLogger(__name__)


class BackendStream:
    """The frames that one process decodes; decoding starts at once.

    If the chosen backend cannot read the file, or crashes, the fallback backend is tried once.
    """

    def __init__(
        self,
        pool: ProcessPool,
        backend: BackendName,
        video: VideoInfo,
        request: DecodeRequest,
        buffer_frames: int,
        progress: Progress,
    ) -> None:
        """`backend`: the chosen backend. `buffer_frames`: maximum number of frames that are decoded ahead."""
        self._pool, self._video, self._buffer_frames, self._progress = pool, video, buffer_frames, progress
        # What is still to be decoded.
        self._request = request
        self._backends = [backend, FALLBACK[backend]]
        self._process: DecodingProcess | None = None
        self._pending_frame: DecodedFrame | None = None
        self._begin()

    def until(self, end_s: float) -> Iterator[DecodedFrame]:
        """Yield the frames that are requested at times up to `end_s`."""
        while (frame := self._pending_frame or self._next()) is not None:
            self._pending_frame = frame if frame.requested_s > end_s else None
            if self._pending_frame is not None:
                return
            yield frame

    def close(self) -> None:
        """Stop decoding."""
        if self._process is not None:
            # `release` ends a process whose responses were not all read.
            self._pool.release(self._process)
            self._process = None

    def _begin(self) -> None:
        self._process = self._pool.acquire()
        try:
            self._frames = self._process.decode(
                self._video, self._request, self._backends[0], buffer_frames=self._buffer_frames, progress=self._progress
            )
        except BaseException:
            self._pool.release(self._process)
            raise

    def _next(self) -> DecodedFrame | None:
        while self._process is not None:
            try:
                frame = next(self._frames, None)
            except UnreadableVideo as error:
                self.close()
                if self._backends[0] == "decord" and not isinstance(error, DecoderDied):
                    # A user who chooses decord gets its reason for refusing the file, not another backend's frames.
                    raise
                log.info("%s: backend %s: %s", self._video.path.name, self._backends[0], error)
                del self._backends[0]
                if self._backends and self._request.times_s:
                    self._begin()
                continue
            if frame is None:
                self.close()
                return None
            after = bisect.bisect_right(self._request.times_s, frame.requested_s)
            self._request = replace(self._request, times_s=self._request.times_s[after:])
            return frame
        # If both backends failed, every remaining time is reported as missing.
        if not self._request.times_s or self._backends:
            return None
        missing_s, self._request = self._request.times_s[0], replace(self._request, times_s=self._request.times_s[1:])
        return DecodedFrame(missing_s, None, None)
