"""Files that a user asks for: parts of a video, and contact sheets."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.files.file_names import new_target, safe_name, times_in_name, write_errors
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.video.errors import ImpossiblePlan
from longview.video.probing.guard import Limits

if TYPE_CHECKING:
    from longview.video.decoding.decoder import Decoder
    from longview.video.probing.probe import VideoInfo

END_SLACK_S = 0.5
"""Maximum time by which a requested end may exceed the video's end, in seconds: displayed lengths are rounded."""


@dataclass(frozen=True)
class Cut:
    """A part of a video that was written as a file of its own."""

    path: Path
    span: Span
    """The span that was written. Without re-encoding it begins at a key frame, which may be earlier than requested."""


@dataclass(frozen=True)
class ContactSheet:
    """An image that was written, with the times of its thumbnails."""

    path: Path
    times_s: tuple[float, ...]
    undecodable_s: tuple[float, ...]
    """Times whose frames could not be decoded."""


def part_of(span: Span, duration_s: float) -> Span:
    """Return a requested part of a video of a length in seconds, without what exceeds its end by rounding.

    Raises:
        ImpossiblePlan: the part is outside of the video.
    """
    if span.start_s >= duration_s or span.end_s > duration_s + END_SLACK_S:
        outside_s = span.start_s if span.start_s >= duration_s else span.end_s
        raise ImpossiblePlan(f"{format_time(outside_s)} is outside the video, which is {format_time(duration_s)} long.")
    return Span(span.start_s, min(span.end_s, duration_s))


class VideoOutputs:
    """The files that are written from videos for a user. Safe for several threads."""

    def __init__(self, decoder: "Decoder", limits: Limits) -> None:
        """`decoder`: an exact one, also where the checkpoint gets key frames only."""
        self._decoder, self._limits = decoder, limits

    def cut(
        self,
        title: str,
        video: "VideoInfo",
        span: Span,
        target: Path | None,
        *,
        reencode: bool,
        progress: Progress = NO_PROGRESS,
    ) -> Cut:
        """Write a part of a video to `target`, by default into the current folder under its title and times.

        Raises:
            NoFrames: the file has only sound.
            BadRequest: the target exists already. ImpossiblePlan: the video has no such part, or no index of key frames.
            FFmpegFailed: the part cannot be decoded, or cannot be written as that kind of file. NoSpace: the disk is full.
            Cancelled: the operation was cancelled; nothing is left of the file.
        """
        from longview.video.probing.probe import require_frames
        from longview.video.transcoding import CUT_SUFFIXES, cut_reencode, cut_stream_copy

        require_frames(video)
        span = part_of(span, video.duration_s)
        suffix = ".mp4" if reencode else video.path.suffix
        target = new_target(target or Path(f"{safe_name(title)}-{times_in_name(span)}{suffix}"), CUT_SUFFIXES)
        with write_errors(target):
            if reencode:
                first_frame_s = self._frame_start_s(video, span.start_s)
                pixels = self._limits.pixels
                cut_reencode(video, span, target, first_frame_s=first_frame_s, max_pixels=pixels, progress=progress)
                return Cut(target, span)
            key_frames_s = self._decoder.key_frames_around(video, span.start_s)
            if key_frames_s is None:
                raise ImpossiblePlan(
                    f"The file of {title} has no index of key frames, which a copy needs; cut it exactly instead (`--reencode`)."
                )
            return Cut(target, cut_stream_copy(video, span, target, key_frames_s=key_frames_s, progress=progress))

    def _frame_start_s(self, video: "VideoInfo", time_s: float) -> float:
        """Return the start of the frame at a time, in seconds; the start of the first frame for an earlier time."""
        from longview.video.sampling_plan import PATCH_SIDE_PX

        (chunk,) = self._decoder.frames_played_at(video, [time_s], PATCH_SIDE_PX, PATCH_SIDE_PX)
        return float(chunk.times_s[0])

    def contact_sheet(self, title: str, video: "VideoInfo", target: Path | None, *, columns: int, rows: int) -> ContactSheet:
        """Write an image with thumbnails from the whole video to `target`, by default into the current folder.

        Raises:
            BadRequest: the target exists already. UnreadableVideo: no frame can be decoded.
        """
        from longview.video.thumbnails import SHEET_FORMATS, contact_sheet

        target = new_target(target or Path(f"{safe_name(title)}-sheet.jpg"), frozenset(SHEET_FORMATS))
        with write_errors(target):
            times_s, undecodable_s = contact_sheet(self._decoder, video, target, columns=columns, rows=rows)
            return ContactSheet(target, tuple(times_s), tuple(undecodable_s))
