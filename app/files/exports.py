"""Export of tracks as text."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from longview.core.sources import source_label, sources_by_precedence, traits_of
from longview.core.timeline import Segment
from longview.indexing.errors import NothingToExport
from longview.indexing.exports import export_format, export_segments
from longview.indexing.records.track import TrackVersion
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library

log = logging.getLogger(__name__)


def export(
    library: Library,
    entry: VideoEntry,
    format: str,
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
    format: str,
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
    format: str,
    segments: Sequence[Segment],
    sources: Sequence[str],
    *,
    language: str | None,
    word_times: bool,
) -> str:
    if language is None and not export_format(format).holds_languages:
        segments = _in_main_language(entry, segments)
    if not segments:
        what = " or ".join(map(source_label, sources or sources_by_precedence())) + (
            f" in the language {language}" if language else ""
        )
        raise NothingToExport(f"{entry.title} has no {what} to export; `longview index` adds what the video has.")
    return export_segments(format, entry, segments, word_times=word_times)


def _in_main_language(entry: VideoEntry, segments: Sequence[Segment]) -> list[Segment]:
    """Leave out translations, which would alternate with the original in one file."""
    chosen_segments = list(segments)
    for track in entry.tracks:
        languages = {item.language for item in segments if item.source == track.source}
        if not traits_of(track.source).is_imported or not track.languages or len(languages) < 2:
            continue
        label, main = source_label(track.source), track.languages[0]
        log.warning("Only the %s %s are exported; --language chooses: %s.", main, label, ", ".join(track.languages))
        chosen_segments = [item for item in chosen_segments if item.source != track.source or item.language == main]
    return chosen_segments
