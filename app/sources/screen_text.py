"""Screen text: what slides, signs and captions in the picture say, read on this machine and committed minute by minute."""

import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from longview.app.errors import BadRequest
from longview.app.runtime import Runtime
from longview.app.sources.base import Decision, SourceJob, SourceResult, typical_speed
from longview.indexing.library import Library, Provenance
from longview.indexing.tracks import Track
from longview.model.errors import ModelError
from longview.model.screen_text.languages import UNREADABLE_LANGUAGES
from longview.model.tasks.events import PartialResult
from longview.video.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.language_tags import language_code
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.time_text import format_spans
from longview.video.timeline import Span, merge_spans

if TYPE_CHECKING:
    from longview.model.screen_text.frame_text import LineRecognizer

VERSION = "1"
"""Version of the settings of the recognition and of the merging over time."""
SECONDS_PER_SECOND = 0.2
"""Typical time per second of video on one CPU core, in seconds (docs/performance.md): slides take less, moving pictures more."""

LANGUAGE_SOURCES = ("speech", "subtitles")
"""Sources whose language the text on screen probably has, too."""


class ScreenTextSource:
    """Reads the text that a video shows."""

    name: ClassVar[str] = "screen_text"
    stage: ClassVar[str] = "Reading text on screen"
    progress_share: ClassVar[float] = 0.3
    segment_noun: ClassVar[str] = "line"
    empty_text: ClassVar[str] = "no text on screen"

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library, self._decoder, self._runtime = library, runtime.decoder, runtime

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:  # noqa: ARG002
        """See `EvidenceSource.decide`.

        Raises:
            BadRequest: the language of the settings is no language.
        """
        if not job.video.has_frames:
            return Decision("decline", "the video has no pictures")
        try:
            provenance = self._provenance(job)
        except ModelError as error:
            return Decision("skip", str(error), is_failure=True)
        track = self._usable_track(job, provenance)
        if track and track.is_complete:
            return Decision("keep", "up to date")
        remaining_s = job.span.end_s - (track.done_s if track else job.span.start_s)
        return Decision("run", estimated_seconds=self._estimated_seconds(provenance.checkpoint, remaining_s))

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`."""
        from longview.model.screen_text.frame_text import FrameText
        from longview.model.screen_text.reader import CHUNK_FRAMES, ScreenReader, frame_size, frame_times_s

        provenance = self._provenance(job)
        started = time.monotonic()
        # What could fail at once comes before the earlier track is replaced.
        recognizer = self._runtime.text_recognizer
        video_id = job.entry.video_id
        track = self._usable_track(job, provenance)
        if track is None or track.is_complete:
            track = Track(self.name, "incomplete", job.span, job.span.start_s, provenance)
            self._library.tracks.begin(video_id, track)
        else:
            track = replace(track, status="incomplete", note="")
        estimated_seconds = self._estimated_seconds(provenance.checkpoint, job.span.end_s - track.done_s)
        spent_before_s, damaged_before = track.seconds_spent, track.uncovered
        is_new = track.done_s == job.span.start_s
        reader = ScreenReader(
            FrameText(recognizer, self._line_recognizer(provenance), progress),
            job.span,
            done_s=track.done_s,
            open_segments=() if is_new else self._library.tracks.open_segments(video_id, track),
        )
        frames = self._decoder.frames_played_at(
            job.video,
            frame_times_s(job.span, track.done_s),
            *frame_size(job.video),
            chunk_frames=CHUNK_FRAMES,
            progress=progress,
        )
        is_read = track.done_s >= job.span.end_s
        with closing(frames):
            # A run may have been interrupted between its last block and its end.
            for block in () if is_read else reader.blocks(_without_damaged_end(frames, job.span, track.done_s, is_new=is_new)):
                job.file.check(progress)
                before_s, track = (
                    track.done_s,
                    replace(
                        track,
                        done_s=block.done_s,
                        uncovered=merge_spans([*damaged_before, *block.uncovered]),
                        frames_read=track.frames_read + block.read_frames,
                        seconds_spent=spent_before_s + time.monotonic() - started,
                    ),
                )
                self._library.tracks.append(video_id, track, block.segments, after_s=before_s, replaces_open=True)
                yield PartialResult(block)
        track = replace(
            track,
            status="complete",
            language=self._main_language(video_id),
            note=self._note(job, track),
            seconds_spent=spent_before_s + time.monotonic() - started,
        )
        self._library.tracks.append(video_id, track, (), after_s=track.done_s)
        return SourceResult(track, estimated_seconds)

    def _usable_track(self, job: SourceJob, provenance: Provenance) -> Track | None:
        """Return the track that this run would keep or go on with; None if it begins anew."""
        track = job.has_track(self.name, provenance.checkpoint, provenance.prompt_version)
        return track if track and track.provenance.plan == provenance.plan else None

    def _provenance(self, job: SourceJob) -> Provenance:
        """Return what makes this track: the models, and the language that tesseract reads beside them.

        Raises:
            TextModelNotFound: the package of the bundled model is not installed. BadRequest: the setting is no language.
        """
        language = self._unreadable_language(job)
        is_installed = language is not None and UNREADABLE_LANGUAGES[language] in self._runtime.tesseract_languages
        return Provenance(self._runtime.text_model.identity, VERSION, {"tesseract": language if is_installed else None})

    def _unreadable_language(self, job: SourceJob) -> str | None:
        """Return the language of the text on screen if the bundled model does not read it.

        It is that of the settings, else that of the speech or the subtitles.
        """
        chosen = self._runtime.settings.screen_text_language
        if chosen is not None:
            code = language_code(chosen)
            if code is None:
                raise BadRequest(
                    f"{chosen!r} is not the code of a language; use one such as en, ko or ru for the text on screen."
                )
            return code if code in UNREADABLE_LANGUAGES else None
        tracks = (job.entry.track(source) for source in LANGUAGE_SOURCES)
        return next((track.language for track in tracks if track and track.language in UNREADABLE_LANGUAGES), None)

    def _line_recognizer(self, provenance: Provenance) -> "LineRecognizer":
        """Return what reads the lines: the bundled model, with tesseract for a language that it does not read."""
        bundled, language = self._runtime.text_recognizer, provenance.plan["tesseract"]
        if language is None:
            return bundled
        from longview.model.screen_text.tesseract import ENGLISH, TesseractRecognizer

        return TesseractRecognizer(language, bundled, has_english=ENGLISH in self._runtime.tesseract_languages)

    def _main_language(self, video_id: str) -> str | None:
        """Return the language of most lines; None if most are in Latin letters, whose language is unknown."""
        languages = Counter(item.segment.language for item in self._library.tracks.segments(video_id, self.name))
        return languages.most_common(1)[0][0] if languages else None

    def _estimated_seconds(self, checkpoint: str, video_s: float) -> float:
        """Estimate the time from earlier runs of the same models, else from the measured speed."""
        speed = typical_speed(self._library, self.name, checkpoint)
        return (SECONDS_PER_SECOND if speed is None else speed) * video_s

    def _note(self, job: SourceJob, track: Track) -> str:
        """Return what people should know about a finished track: a language that was not read, or damaged pictures."""
        notes = []
        language = self._unreadable_language(job)
        if language is not None and track.provenance.plan["tesseract"] is None:
            code = UNREADABLE_LANGUAGES[language]
            notes.append(
                f"text in the script of {language} was not read; install tesseract with its language {code} "
                f"(Debian: tesseract-ocr-{code}), and index the video again"
            )
        if track.uncovered:
            notes.append(f"the pictures are damaged from {format_spans(*track.uncovered)}")
        return "; ".join(notes)


def _without_damaged_end(frames: Iterator[TimedFrames], span: Span, done_s: float, *, is_new: bool) -> Iterator[TimedFrames]:
    """Yield decoded frames. If none can be decoded after an interrupted run, the rest of the video is uncovered.

    Raises:
        UnreadableVideo: no frame of the whole video can be decoded.
    """
    try:
        yield from frames
    except UnreadableVideo:
        if is_new:
            raise
        nothing = np.zeros((0, 1, 1, 3), np.uint8)
        yield TimedFrames(nothing, np.zeros(0), (Span(done_s, span.end_s),))
