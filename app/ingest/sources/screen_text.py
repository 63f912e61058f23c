"""Screen text: what slides, signs and captions in the picture say, read on this machine and committed minute by minute."""

import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from longview.app.errors import BadRequest
from longview.app.ingest.media_look import LineCounter, PictureLook
from longview.app.ingest.sources.base import Decision, SourceJob, SourceResult
from longview.app.ingest.sources.resumable import begin_or_resume, left_s
from longview.app.ingest.sources.screen_text_times import (
    BLOCK_S,
    LOADING_S,
    LOOK_WEIGHT,
    MIN_AREA,
    TYPICAL_PICTURES,
    ReadingCounts,
    measured_slowness,
    reference_s,
    speed_name,
)
from longview.app.runtime.runtime import Runtime
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.sources import spoken_sources
from longview.core.time_format import format_spans
from longview.core.timeline import Span, merge_spans
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.library import Library
from longview.model.errors import ModelError
from longview.model.screen_text.languages import UNREADABLE_LANGUAGES
from longview.model.tasks.events import PartialResult
from longview.video.decoding.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.language_tags import language_code

if TYPE_CHECKING:
    from longview.model.screen_text.frame_text import LineRecognizer
    from longview.model.screen_text.recognizer import TextRecognizer

VERSION = "1"
"""Version of the settings of the recognition and of the merging over time."""
LOADING_NAME = "loading screen_text"
"""Name of the speed of loading the text models."""


class ScreenTextSource:
    """Reads the text that a video shows."""

    name: ClassVar[str] = "screen_text"
    stage: ClassVar[str] = "Reading text on screen"

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library, self._decoder, self._runtime = library, runtime.decoder, runtime

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:  # noqa: ARG002
        """See `EvidenceSource.decide`.

        Raises:
            BadRequest: the language of the settings is not a language.
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
        return Decision("run")

    def loading_s(self) -> float:
        """See `EvidenceSource.loading_s`."""
        return 0.0 if self._runtime.has_text_recognizer else LOADING_S * self._runtime.speeds.ratio(LOADING_NAME)

    def work_s(self, job: SourceJob) -> float:
        """See `EvidenceSource.work_s`. The lines of a frame are counted, for which the detector is loaded."""
        provenance = self._provenance(job)
        track = self._usable_track(job, provenance)
        remaining_s = left_s(job, track)
        look = self._look(job)
        name = speed_name(provenance.checkpoint, provenance.plan)
        slowness = self._runtime.speeds.ratio(name, measured_slowness(job.video, look), default_weight=LOOK_WEIGHT)
        return reference_s(job.video, ReadingCounts.expected(look, remaining_s)) * slowness

    def _look(self, job: SourceJob) -> PictureLook:
        from longview.model.screen_text.recognizer import frame_size

        def load_counter() -> LineCounter:
            recognizer = self._recognizer()
            return lambda frame: len(recognizer.detect(frame))

        return job.look.pictures(*frame_size(job.video), load_counter) or TYPICAL_PICTURES

    def _recognizer(self) -> "TextRecognizer":
        """Return the recogniser of text; note the time of its loading."""
        if self._runtime.has_text_recognizer:
            return self._runtime.text_recognizer
        started = time.monotonic()
        recognizer = self._runtime.text_recognizer
        recognizer.load_detection()
        self._runtime.speeds.learn_ratio(LOADING_NAME, time.monotonic() - started, LOADING_S)
        return recognizer

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`."""
        from longview.model.screen_text.frame_text import FrameText
        from longview.model.screen_text.reader import CHUNK_FRAMES, ScreenReader, frame_times_s
        from longview.model.screen_text.recognizer import frame_size

        provenance = self._provenance(job)
        estimated_seconds = self.loading_s() + self.work_s(job)
        look = self._look(job)
        # What could fail at once comes before the earlier track is replaced.
        recognizer = self._recognizer()
        recognizer.load_recognition()
        started = time.monotonic()
        video_id = job.entry.video_id
        track = begin_or_resume(self._library, job, self.name, provenance, self._usable_track(job, provenance))
        spent_before_s, damaged_before, begin_s = track.seconds_spent, track.uncovered, track.done_s
        recognized_frames = 0
        is_new = track.done_s == job.span.start_s
        text = FrameText(recognizer, self._line_recognizer(provenance), progress)
        reader = ScreenReader(
            text,
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
                recognized_frames += block.recognized_frames
                self._library.tracks.append(video_id, track, block.segments, after_s=before_s, replaces_open=True)
                yield PartialResult(block)
        blocks = 1.0 + (job.span.end_s - begin_s) // BLOCK_S
        whole_frames = blocks + max(0.0, recognized_frames - blocks) * max(MIN_AREA, look.area)
        counts = ReadingCounts(job.span.end_s - begin_s, whole_frames, text.crop_count)
        name = speed_name(provenance.checkpoint, provenance.plan)
        self._runtime.speeds.learn_ratio(name, time.monotonic() - started, reference_s(job.video, counts), cpu_ratio=1.0)
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
        """Return the track that this run would keep or resume; None if it begins anew."""
        track = job.has_track(self.name, provenance.checkpoint, provenance.prompt_version)
        return track if track and track.provenance.plan == provenance.plan else None

    def _provenance(self, job: SourceJob) -> Provenance:
        """Return what makes this track: the models, and the language that tesseract reads beside them.

        Raises:
            TextModelNotFound: the package of the bundled model is not installed. BadRequest: the setting is not a language.
        """
        language = self._unreadable_language(job)
        is_installed = language is not None and UNREADABLE_LANGUAGES[language] in self._runtime.tesseract_languages
        return Provenance(self._runtime.text_model.identity, VERSION, {"tesseract": language if is_installed else None})

    def _unreadable_language(self, job: SourceJob) -> str | None:
        """Return the language of the text on screen if the bundled model does not read it.

        It is that of the settings, else that of the speech or the subtitles.
        """
        setting = self._runtime.settings.screen_text_language
        if setting is not None:
            code = language_code(setting)
            if code is None:
                raise BadRequest(
                    f"{setting!r} is not the code of a language; use one such as en, ko or ru for the text on screen."
                )
            return code if code in UNREADABLE_LANGUAGES else None
        # The text on screen probably has the language of what is said.
        tracks = (job.entry.track(source) for source in spoken_sources())
        return next((track.language for track in tracks if track and track.language in UNREADABLE_LANGUAGES), None)

    def _line_recognizer(self, provenance: Provenance) -> "LineRecognizer":
        """Return what reads the lines: the bundled model, with tesseract for a language that it does not read."""
        recognizer, language = self._runtime.text_recognizer, provenance.plan["tesseract"]
        if language is None:
            return recognizer
        from longview.model.screen_text.tesseract import ENGLISH, TesseractRecognizer

        return TesseractRecognizer(language, recognizer, has_english=ENGLISH in self._runtime.tesseract_languages)

    def _main_language(self, video_id: str) -> str | None:
        """Return the language of most lines; None if most are in Latin letters, whose language is unknown."""
        languages = Counter(item.segment.language for item in self._library.tracks.segments(video_id, self.name))
        return languages.most_common(1)[0][0] if languages else None

    def _note(self, job: SourceJob, track: Track) -> str:
        """Return the note on a finished track: a language that was not read, or damaged pictures."""
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


SOURCE = ScreenTextSource
