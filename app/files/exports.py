"""Export of tracks as text."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from longview.app.text.sources import source_label
from longview.core.timeline import Segment
from longview.indexing.errors import ExportNotPossible
from longview.indexing.exports import ExportFormat, export_segments
from longview.indexing.records.track import TrackVersion
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library

log = logging.getLogger(__name__)

EXPORT_ORDER = ("captions", "subtitles", "speech", "screen_text")
"""Sources that are exported where none is chosen: the first that the video has."""


def export(
    library: Library,
    entry: VideoEntry,
    format: ExportFormat,
    sources: Sequence[str],
    *,
    language: str | None = None,
    word_times: bool = False,
) -> str:
    """Return tracks of a video as text in a format.

    `language`: only segments in this language. `word_times`: with the times of words.

    Raises:
        ExportNotPossible: there is nothing to export, or the format cannot hold it.
    """
    segments = [stored.segment for name in sources for stored in library.tracks.segments(entry.video_id, name, language=language)]
    return _export(entry, format, segments, sources, language=language, word_times=word_times)


def export_version(
    library: Library,
    entry: VideoEntry,
    format: ExportFormat,
    version: TrackVersion,
    *,
    language: str | None = None,
    word_times: bool = False,
) -> str:
    """Return one version of a track as text in a format; see `export`.

    Raises:
        ExportNotPossible: there is nothing to export, or the format cannot hold it.
    """
    segments = [item for item in library.versions.segments(version) if language in (None, item.language)]
    entry = replace(entry, tracks=(version.track,))
    return _export(entry, format, segments, [version.track.source], language=language, word_times=word_times)


def _export(
    entry: VideoEntry,
    format: ExportFormat,
    segments: Sequence[Segment],
    sources: Sequence[str],
    *,
    language: str | None,
    word_times: bool,
) -> str:
    if language is None and format in ("srt", "vtt"):
        segments = _in_main_language(entry, segments)
    if not segments:
        what = " or ".join(map(source_label, sources or EXPORT_ORDER)) + (f" in the language {language}" if language else "")
        raise ExportNotPossible(f"{entry.title} has no {what} to export; `longview index` adds what the video has.")
    return export_segments(format, entry, segments, word_times=word_times)


def _in_main_language(entry: VideoEntry, segments: Sequence[Segment]) -> list[Segment]:
    """Leave out the subtitles that are not in the main language: translations would alternate with the original in one file."""
    track = entry.track("subtitles")
    languages = {item.language for item in segments if item.source == "subtitles"}
    if track is None or not track.languages or len(languages) < 2:
        return list(segments)
    log.warning("Only the %s subtitles are exported; --language chooses: %s.", track.languages[0], ", ".join(track.languages))
    return [item for item in segments if item.source != "subtitles" or item.language == track.languages[0]]
