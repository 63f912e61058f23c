"""Import of subtitles: a file of the user, or a transcript without times, becomes part of a video's subtitles."""

from dataclasses import dataclass, replace
from pathlib import Path

from longview.app.errors import BadRequest
from longview.app.ingest.options import require_language
from longview.app.ingest.sources.subtitles import IMPORTED, add_subtitles
from longview.core.time_format import format_time
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.video.decoding.decoder import Decoder
from longview.video.subtitles.parsers import MAX_SUBTITLE_BYTES
from longview.video.subtitles.sidecars import SUBTITLE_SUFFIXES
from longview.video.subtitles.transcript import align_transcript

TRANSCRIPT_SUFFIXES = (".txt", ".md")
"""Suffixes of transcripts without times."""
FILE_SUFFIXES = (*SUBTITLE_SUFFIXES, *TRANSCRIPT_SUFFIXES)
"""Suffixes of the files that can be added to a video."""
MAX_FILE_BYTES = MAX_SUBTITLE_BYTES
MIN_MATCHED_SHARE = 0.2
"""Minimum share of a transcript's words that must be spoken in the video; below it, it is the transcript of another one."""


@dataclass(frozen=True)
class SubtitleImport:
    """What was added to a video."""

    track: Track
    segments: int
    language: str | None
    unmatched_share: float | None
    """Share of a transcript's words that do not fit the speech; None for a file with times."""
    unmatched: tuple[str, ...]
    """The passages of a transcript that do not fit the speech."""
    problems: tuple[str, ...]
    """Sentences about what was left out or changed."""


class SubtitleFiles:
    """The subtitle files that users add to the videos of one library. Safe for several threads."""

    def __init__(self, library: Library, decoder: Decoder) -> None:
        self._library, self._decoder = library, decoder

    def add(self, entry: VideoEntry, path: Path, *, language: str | None = None, offset_s: float = 0.0) -> SubtitleImport:
        """Add a subtitle file, or a transcript without times, to a video; see `import_subtitles`."""
        return import_subtitles(self._library, self._decoder, entry, path, language=language, offset_s=offset_s)

    def names(self, entry: VideoEntry) -> tuple[str, ...]:
        """Return what the subtitles of a video are from, in the order of their names: text streams of its file, and files."""
        return tuple(sorted(self._origins(entry)))

    def remove(self, entry: VideoEntry, name: str) -> None:
        """Remove the subtitles of one name. The file itself stays, and one beside the video is read again once it has changed.

        Raises:
            BadRequest: the video has none of that name. UnknownVideo: it was removed meanwhile.
        """
        origin, track = self._origins(entry).get(name), entry.track("subtitles")
        if origin is None or track is None:
            raise BadRequest(f"“{entry.title}” has no subtitles of the name {name}.")
        # The track stays also without segments: it knows which files were read, which would come back otherwise.
        self._library.tracks.replace(entry.video_id, replace(track, note=""), (), origin=origin)

    def _origins(self, entry: VideoEntry) -> dict[str, str]:
        """Return the origins of the segments by the names that users read."""
        origins = self._library.tracks.origins(entry.video_id, "subtitles")
        return {origin.removeprefix(IMPORTED): origin for origin in origins}


def import_subtitles(
    library: Library, decoder: Decoder, entry: VideoEntry, path: Path, *, language: str | None = None, offset_s: float = 0.0
) -> SubtitleImport:
    """Add a subtitle file to a video; replace subtitles of the same file name. A transcript is aligned with the speech.

    `language`: language of the file; by default its name or the speech states it. `offset_s`: seconds that are added to all times
    of the file.

    Raises:
        UnreadableSubtitles: the file cannot be read. BadRequest: it has no segment in the video, is of another kind, or is a
            transcript of a video whose speech is not in the library.
    """
    if language is not None:
        require_language(language, "the file")
    suffix = path.suffix.lower()
    unmatched_share: float | None = None
    unmatched: tuple[str, ...] = ()
    if suffix in SUBTITLE_SUFFIXES:
        subtitles = decoder.subtitle_file(path, offset_s=offset_s).clipped_to(entry.duration_s)
        segments, language, problems = subtitles.segments, language or subtitles.language, subtitles.problems
    elif suffix in TRANSCRIPT_SUFFIXES:
        if offset_s:
            raise BadRequest("A transcript without times gets those of the speech, so --offset does not apply to it.")
        speech = [item.segment for item in library.tracks.segments(entry.video_id, "speech")]
        words = [word for segment in speech for word in segment.words]
        if not words:
            raise BadRequest(
                f"{path.name} has no times, and the speech of {entry.title} is not in the library; "
                "run `longview index --sources speech` first."
            )
        alignment = align_transcript(decoder.transcript(path), words)
        language = language or next((segment.language for segment in speech if segment.language), None)
        segments = alignment.segments
        unmatched_share, unmatched = alignment.unmatched_share, alignment.unmatched
        if unmatched_share > 1 - MIN_MATCHED_SHARE:
            raise BadRequest(
                f"{path.name} does not fit the speech of {entry.title}: {unmatched_share:.0%} of its words are not said there."
            )
        problems = ()
    else:
        kinds = " ".join(FILE_SUFFIXES)
        raise BadRequest(f"{path.name} is not a subtitle file or transcript; use one of {kinds}.")
    if not segments:
        raise BadRequest(f"No subtitle of {path.name} is within {entry.title} ({format_time(entry.duration_s)}); see --offset.")
    segments = tuple(replace(segment, language=language) for segment in segments)
    track = add_subtitles(library, entry, path.name, segments, language, " ".join(problems))
    return SubtitleImport(track, len(segments), language, unmatched_share, unmatched, problems)
