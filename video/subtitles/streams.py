"""Text subtitles within a video file, read in the decoding process (`longview.video.decoding.worker`).

The packets contain the text itself, so no subtitle decoder of FFmpeg is started. FFmpeg's decoders would also remove text in
braces that players show.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from av import Packet
from av.container import InputContainer
from av.stream import Stream

from longview.core.progress import Progress
from longview.video.errors import UnreadableSubtitles
from longview.video.language_tags import language_code
from longview.video.probing.container import FFMPEG_ERRORS, HEARTBEAT_S, open_container
from longview.video.probing.probe import StreamInfo, VideoInfo
from longview.video.subtitles.cues import Cue, ass_text, check_count, count_sentence, html_text, join_sentences, segments_from
from longview.video.subtitles.parsers import SubtitleFile

log = logging.getLogger(__name__)

TEXT_SUBTITLE_CODECS = frozenset({"ass", "mov_text", "ssa", "subrip", "text", "webvtt"})
"""Codecs, by FFmpeg's canonical names, whose packets contain text. Discs and broadcasts store images of text."""
INDEXED_CONTAINER = "mp4"
"""Part of the name of the containers that FFmpeg reads by an index, so that it can leave out the video's bytes."""
DISCARD_ALL = 48
"""Value of `AVDISCARD_ALL` (libavcodec/defs.h): the demuxer returns no packet of the stream."""
ASS_TEXT_FIELD = 8
"""Number of fields before the text in a packet: ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV and Effect."""
MOV_TEXT_LENGTH_BYTES = 2
"""Size of the length before the text of a mov_text packet, in bytes; styles may follow the text (3GPP TS 26.245, 5.17)."""
MAX_PACKET_BYTES = 1 << 16
"""Maximum size of a packet, in bytes, which is the maximum of mov_text."""
BATCH_CUES = 256
"""Maximum number of cues in a batch."""
BATCH_BYTES = 1 << 18
"""Size of the packets after which a batch ends, in bytes. As JSON, with at most six bytes per byte, it stays below the maximum
length of a response (`MAX_LINE_BYTES` in `longview.video.decoding.worker_client`)."""


@dataclass
class CueBatch:
    """Some consecutive cues of a stream; without any if none was read for a second."""

    cues: list[Cue] = field(default_factory=list)
    lost_packets: int = 0
    """Number of packets between the cues that are damaged and were left out."""
    is_cut: bool = False
    """Whether the file cannot be read further; this batch is the last one."""


def text_stream(video: VideoInfo, stream_index: int) -> StreamInfo:
    """Return the subtitle stream of that index.

    Raises:
        UnreadableSubtitles: the file has no such stream, or its subtitles are images.
    """
    stream = next((stream for stream in video.subtitle_streams if stream.index == stream_index), None)
    if stream is None:
        raise UnreadableSubtitles(f"{video.path} has no subtitle stream {stream_index}; choose one of its subtitle streams.")
    if stream.codec not in TEXT_SUBTITLE_CODECS:
        problem = f"Subtitle stream {stream_index} of {video.path} does not contain text ({stream.codec})"
        raise UnreadableSubtitles(f"{problem}; choose another stream or a subtitle file.")
    return stream


def read_cues(video: VideoInfo, stream_index: int) -> Iterator[CueBatch]:
    """Read the cues of a stream of text subtitles, with times as in `VideoInfo`; yield a batch at least once per second.

    Raises:
        UnreadableSubtitles: the file has no such stream. NotAVideo: it is no longer a video.
    """
    codec = text_stream(video, stream_index).codec
    with open_container(video.path) as container:
        if stream_index >= len(container.streams) or container.streams[stream_index].type != "subtitle":
            raise UnreadableSubtitles(f"{video.path} no longer has the subtitle stream {stream_index}; index the file again.")
        if INDEXED_CONTAINER in video.container:
            _discard_others(container, container.streams[stream_index])
        batch, batch_bytes, end_s = CueBatch(), 0, time.monotonic() + HEARTBEAT_S
        try:
            for packet in container.demux():
                if packet.stream_index == stream_index and packet.size:
                    cue = _cue(packet, codec, video.start_offset_s)
                    if cue is None:
                        batch.lost_packets += 1
                    elif cue.text:
                        batch.cues.append(cue)
                        batch_bytes += packet.size
                if len(batch.cues) >= BATCH_CUES or batch_bytes >= BATCH_BYTES or time.monotonic() > end_s:
                    yield batch
                    batch, batch_bytes, end_s = CueBatch(), 0, time.monotonic() + HEARTBEAT_S
        except FFMPEG_ERRORS as error:
            log.info("cannot read all subtitles of %s: %s", video.path, error)
            batch.is_cut = True
        yield batch


def collect_cues(video: VideoInfo, stream: StreamInfo, batches: Iterable[CueBatch], progress: Progress) -> SubtitleFile:
    """Join the batches of a stream.

    Raises:
        UnreadableSubtitles: there are too many subtitles.
    """
    cues: list[Cue] = []
    lost_packets, is_cut = 0, False
    for batch in batches:
        cues += batch.cues
        check_count(len(cues), str(video.path))
        lost_packets, is_cut = lost_packets + batch.lost_packets, batch.is_cut
        if cues and video.duration_s:
            progress.update(min(1.0, max(0.0, cues[-1].start_s / video.duration_s)))
    segments, problems = segments_from(cues, name=str(video.path), language=language_code(stream.language or ""))
    loss_note = count_sentence(lost_packets, "is damaged and was left out", "are damaged and were left out")
    cut_note = "The file is damaged, and the subtitles after the damage cannot be read." if is_cut else ""
    return SubtitleFile(
        video.path, segments, language_code(stream.language or ""), "utf-8", join_sentences((loss_note, cut_note, *problems))
    )


def _discard_others(container: InputContainer, stream: Stream) -> None:
    for other in container.streams:
        if other.index != stream.index:
            # PyAV has the attribute from version 18 on; before, the whole file is read.
            with suppress(AttributeError):
                other.discard = DISCARD_ALL  # type: ignore[assignment]


def _cue(packet: Packet, codec: str, start_offset_s: float) -> Cue | None:
    """Return the cue of a packet; None if the packet is damaged."""
    if packet.pts is None or packet.time_base is None or packet.is_corrupt or packet.size > MAX_PACKET_BYTES:
        return None
    text = _text(bytes(packet), codec)
    if text is None:
        return None
    start_s = float(packet.pts * packet.time_base) - start_offset_s
    return Cue(start_s, start_s + float((packet.duration or 0) * packet.time_base), text)


def _text(data: bytes, codec: str) -> str | None:
    """Return the plain text of a packet; None if its text is damaged."""
    try:
        if codec == "mov_text":
            length = int.from_bytes(data[:MOV_TEXT_LENGTH_BYTES], "big")
            text = data[MOV_TEXT_LENGTH_BYTES : MOV_TEXT_LENGTH_BYTES + length]
            if len(text) < length:
                return None
            is_utf16 = text.startswith((b"\xfe\xff", b"\xff\xfe"))
            return html_text(text.decode("utf-16" if is_utf16 else "utf-8"))
        markup = data.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return None
    if codec in ("ass", "ssa"):
        fields = markup.split(",", ASS_TEXT_FIELD)
        return ass_text(fields[-1]) if len(fields) > ASS_TEXT_FIELD else None
    return html_text(markup)
