"""Speech: what is said, recognised on this machine and committed chunk by chunk."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from longview.app.errors import BadRequest, NoSpace
from longview.app.files.waveforms import waveform_path, write_waveform
from longview.app.ingest.sources.base import Decision, SourceJob, SourceResult
from longview.app.ingest.sources.resumable import begin_or_resume, left_s
from longview.app.ingest.sources.speech_state import SpeechState, state_of
from longview.app.ingest.sources.speech_times import TYPICAL_SOUND, RunTimes, SpeechSpeeds, recognition_reference_s
from longview.app.runtime.runtime import Runtime
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.time_format import format_spans
from longview.core.timeline import Span, merge_spans
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.library import Library
from longview.model.errors import ModelError
from longview.model.speech.voice_activity import MAX_CHUNK_S, MIN_BUFFER_S
from longview.model.tasks.events import PartialResult
from longview.video.decoding.audio import RATE_HZ, AudioBlock, select_audio_stream
from longview.video.errors import VideoError
from longview.video.language_tags import language_code
from longview.video.probing.probe import StreamInfo, VideoInfo
from longview.video.waveform import PeakMeter

if TYPE_CHECKING:
    from longview.model.speech.transcriber import TranscribedChunk

log = logging.getLogger(__name__)

VERSION = "1"
"""Version of the settings of the recognition: voice activity, decoding and filters."""
PENDING_S = MIN_BUFFER_S + MAX_CHUNK_S
"""Maximum sound that is heard and not recognised yet, in seconds."""
DETECTED = "auto"
"""Setting of the language that detects it, also if an earlier run had another setting."""
DETECTION_SOUND_S = 600.0
"""Maximum sound that is examined to compare the spoken language with that of subtitles, in seconds."""
MIN_SUBTITLE_SHARE = 0.1
"""Minimum share of the video with subtitles in one language that make speech recognition superfluous. Dialogue takes up a third
of a film and more; files with translated signs or foreign lines only have a few subtitles."""
MAX_VOCABULARY_BYTES = 1 << 16
"""Maximum size of a vocabulary file, in bytes; the recogniser uses about 100 tokens of it."""


class SpeechSource:
    """Recognises the speech of a video."""

    name: ClassVar[str] = "speech"
    stage: ClassVar[str] = "Recognising speech"

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library, self._decoder, self._runtime = library, runtime.decoder, runtime

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:
        """See `EvidenceSource.decide`. Where there are subtitles in the spoken language, it is run only if the user chose it.

        Raises:
            NoSuchTrack: the video has no audio track of the settings. BadRequest: the vocabulary cannot be read.
        """
        if not job.video.has_audio:
            return Decision("decline", "the video has no sound")
        try:
            provenance = self._provenance(job)
        except ModelError as error:
            return Decision("skip", str(error), is_failure=True)
        track = self._usable_track(job, provenance)
        if track and track.is_complete:
            return Decision("keep", "up to date")
        if not job.is_requested and track is None and (language := self._subtitle_language(job, progress)):
            return Decision("skip", f"there are subtitles in the spoken language{language}; --sources speech runs it anyway")
        return Decision("run")

    def loading_s(self) -> float:
        """See `EvidenceSource.loading_s`."""
        if self._runtime.has_speech_recognizer:
            return 0.0
        return self._speeds(self._runtime.speech_model.identity).loading_s()

    def work_s(self, job: SourceJob) -> float | None:
        """See `EvidenceSource.work_s`."""
        times = self._times(job)
        return times.heard_s + times.recognized_s if times else None

    def _times(self, job: SourceJob) -> RunTimes | None:
        """Return the expected times of a run; None if nothing is known of the speed of the model."""
        provenance = self._provenance(job)
        speeds = self._speeds(provenance.checkpoint)
        if not speeds.is_known:
            return None
        remaining_s = left_s(job, self._usable_track(job, provenance))
        return speeds.run_times(remaining_s, job.look.sound(self._stream(job.video).index) or TYPICAL_SOUND)

    def _speeds(self, checkpoint: str) -> SpeechSpeeds:
        return SpeechSpeeds(self._runtime.speeds, checkpoint, self._runtime.speech_device)

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`."""
        provenance = self._provenance(job)
        started = time.monotonic()
        times, loading_s = self._times(job), self.loading_s()
        # What could fail at once comes before the earlier track is replaced.
        _ = self._runtime.speech_recognizer
        loaded_s = time.monotonic()
        speeds = self._speeds(provenance.checkpoint)
        if loading_s:
            speeds.learn_loading(loaded_s - started)
        estimated_seconds = loading_s + times.heard_s + times.recognized_s if times else None
        progress = progress.child(loading_s / estimated_seconds if estimated_seconds else 0.0, 1.0)
        if estimated_seconds:
            # How long the loading took tells nothing of the rest.
            progress.expect(estimated_seconds - loading_s)
        chosen_language = self._chosen_language()
        stream = self._stream(job.video)
        track = begin_or_resume(self._library, job, self.name, provenance, self._usable_track(job, provenance))
        spent_before_s, begin_s = track.seconds_spent, track.done_s
        recognized_s = reference_s = 0.0
        heard = _HeardSound(list(track.uncovered), PeakMeter(job.video.duration_s))
        state = state_of(track)
        share = times.recognized_s / (times.heard_s + times.recognized_s) if times else 1.0
        steps = _SpeechProgress(progress, job.span, share)
        for chunk in self._chunks(job, stream.index, state, track.done_s, chosen_language, heard, steps):
            recognized_s += chunk.seconds_spent
            reference_s += recognition_reference_s(chunk.duration_s)
            job.file.check(progress)
            before_s, state = track.done_s, state.after(chunk)
            track = replace(
                track,
                done_s=chunk.done_s,
                language=track.language or (chunk.language.code if chunk.segments else None),
                uncovered=merge_spans(heard.damaged_spans),
                seconds_spent=spent_before_s + time.monotonic() - started,
                state=state.fields(),
            )
            self._library.tracks.append(job.entry.video_id, track, chunk.segments, after_s=before_s)
            yield PartialResult(chunk)
        job.file.check(progress)
        before_s = track.done_s
        last_track = self._library.pending_video(job.entry.video_id).track(self.name)
        track = replace(
            track,
            status="complete",
            language=last_track.languages[0] if last_track and last_track.languages else None,
            done_s=max(track.done_s, job.span.end_s),
            uncovered=merge_spans(heard.damaged_spans),
            seconds_spent=spent_before_s + time.monotonic() - started,
        )
        speeds.learn_recognition(recognized_s, reference_s)
        speeds.learn_sound(time.monotonic() - loaded_s - recognized_s, job.span.end_s - begin_s)
        track = replace(track, note=_note(track, state.mean_probability, chosen_language), state={})
        self._library.tracks.append(job.entry.video_id, track, (), after_s=before_s)
        self._keep_waveform(job, stream, heard.meter)
        return SourceResult(track, estimated_seconds)

    def _chunks(
        self,
        job: SourceJob,
        stream_index: int,
        state: SpeechState,
        done_s: float,
        language: str | None,
        heard: "_HeardSound",
        steps: "_SpeechProgress",
    ) -> Iterator["TranscribedChunk"]:
        """Yield the chunks of speech after a time, section by section."""
        from longview.model.speech.transcriber import transcribe

        steps.skip(done_s)
        progress = steps.progress
        is_over = False
        while not is_over:
            start_s = state.section_start_s
            # A resumed run decodes the beginning of its section again, but recognises only what follows `done_s`. The decoder is
            # a minute ahead of the recognition, so its own progress is not that of the run.
            sound = self._decoder.audio(
                job.video, stream_index, start_s=start_s, end_s=_sound_end_s(job), progress=progress.child(0.0, 0.0)
            )
            chunks = transcribe(
                self._runtime.speech_recognizer,
                steps.follow(heard.follow(sound)),
                language=language,
                expected=state.expected,
                vocabulary=self._vocabulary(),
                done_s=done_s,
                progress=progress,
            )
            is_over = True
            with closing(chunks):
                for chunk in chunks:
                    state, done_s = state.after(chunk), chunk.done_s
                    steps.recognized(done_s)
                    yield chunk
                    if state.section_start_s > start_s:
                        is_over = False
                        break

    def _keep_waveform(self, job: SourceJob, stream: StreamInfo, meter: PeakMeter) -> None:
        """Write the waveform that pages show, so that nobody waits for it. It is of the main stream and of the whole sound."""
        folder, video_id, peaks = self._library.folder, job.entry.video_id, meter.peaks()
        is_whole = job.span.end_s >= job.video.duration_s and stream.index == select_audio_stream(job.video, None).index
        if peaks is None or not is_whole or waveform_path(folder, video_id).exists():
            return
        try:
            write_waveform(folder, video_id, peaks)
        except (NoSpace, BadRequest) as error:
            # The words are what was asked for; the first view of the page makes the waveform.
            log.warning("the waveform was not kept: %s", error)

    def _usable_track(self, job: SourceJob, provenance: Provenance) -> Track | None:
        """Return the track that this run would keep or resume; None if it begins anew.

        An option that the user did not set does not discard what was recognised with it.
        """
        checkpoint = provenance.checkpoint
        last_track = job.entry.track(self.name)
        if self._runtime.settings.speech_model == "auto" and last_track:
            checkpoint = last_track.provenance.checkpoint
        track = job.has_track(self.name, checkpoint, provenance.prompt_version)
        if track is None:
            return None
        if not track.is_complete and not track.provenance.is_same(provenance):
            return None
        settings, plan = self._runtime.settings, track.provenance.plan
        if settings.speech_language == DETECTED and plan.get("language") is not None:
            return None
        stated_options = {name: value for name, value in provenance.plan.items() if value is not None}
        if settings.audio_track is None:
            del stated_options["audio_stream"]
        return track if all(plan.get(name) == value for name, value in stated_options.items()) else None

    def _chosen_language(self) -> str | None:
        """Return the language of the settings; None if it is detected.

        Raises:
            BadRequest: the speech model does not know it.
        """
        language = self._runtime.settings.speech_language
        if language is None or language == DETECTED:
            return None
        if language not in self._runtime.speech_recognizer.languages:
            raise BadRequest(
                f"The speech model does not know the language {language!r}; use a code such as en, de or ko, or {DETECTED}."
            )
        return language

    def _stream(self, video: VideoInfo) -> StreamInfo:
        """Return the audio track of the settings: its number from 1, a language, or the main one."""
        choice = self._runtime.settings.audio_track
        return select_audio_stream(video, int(choice) if choice and choice.isdecimal() else choice)

    def _provenance(self, job: SourceJob) -> Provenance:
        """Return what makes this track: the model and all settings that change the words."""
        settings = self._runtime.settings
        stream = self._stream(job.video)
        language = None if settings.speech_language == DETECTED else settings.speech_language
        plan = {"audio_stream": stream.index, "language": language, "vocabulary": self._vocabulary()}
        model = self._runtime.speech_model
        return Provenance(model.identity, VERSION, plan, model.revision or "")

    def _vocabulary(self) -> str | None:
        """Return the names and terms of the vocabulary file in one line.

        Raises:
            BadRequest: the file cannot be read.
        """
        path = self._runtime.settings.speech_vocabulary
        if path is None:
            return None
        try:
            with path.expanduser().open("rb") as file:
                content = file.read(MAX_VOCABULARY_BYTES + 1)
            if len(content) > MAX_VOCABULARY_BYTES:
                raise BadRequest(f"The vocabulary {path} has more than {MAX_VOCABULARY_BYTES >> 10} KiB; keep the rarest terms.")
            text = content.decode()
        except OSError as error:
            raise BadRequest(f"The vocabulary {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise BadRequest(f"The vocabulary {path} is not UTF-8 text; save it as UTF-8, one name or term per line.") from error
        return ", ".join(" ".join(line.split()) for line in text.splitlines() if line.strip()) or None

    def _subtitle_language(self, job: SourceJob, progress: Progress) -> str:
        """Return the language of subtitles that are in the spoken language, in parentheses; empty if there are none."""
        durations_s: dict[str | None, float] = {}
        for item in self._library.tracks.segments(job.entry.video_id, "subtitles"):
            language = item.segment.language
            durations_s[language] = durations_s.get(language, 0.0) + item.segment.span.duration_s
        least_s = MIN_SUBTITLE_SHARE * job.video.duration_s
        languages = {language for language, duration_s in durations_s.items() if duration_s >= least_s}
        if not languages:
            return ""
        if None in languages:
            # Files without a language in their name are nearly always in that of the film.
            return " (of unknown language)"
        stream = self._stream(job.video)
        setting = self._runtime.settings.speech_language
        speech_language = (setting if setting != DETECTED else None) or language_code(stream.language or "")
        speech_language = speech_language or self._detect_language(job, stream.index, progress)
        return f" ({speech_language})" if speech_language in languages else ""

    def _detect_language(self, job: SourceJob, stream_index: int, progress: Progress) -> str | None:
        """Return the language of the first speech; None if there is no speech."""
        from longview.model.speech.voice_activity import speech_chunks

        try:
            start_s = job.span.start_s
            sound = self._decoder.audio(
                job.video, stream_index, start_s=start_s, end_s=start_s + DETECTION_SOUND_S, progress=progress
            )
            chunk = next(speech_chunks(sound), None)
        except VideoError:
            return None
        return self._runtime.speech_recognizer.recognize(chunk.samples, progress=progress).language if chunk else None


class _SpeechProgress:
    """The progress of a run, whose sound is decoded ahead of the recognition."""

    def __init__(self, progress: Progress, span: Span, share: float) -> None:
        """`share`: expected share of the recognition in the time of the run."""
        self.progress, self._span, self._share = progress, span, share
        self._heard_share = self._recognized_share = 0.0

    def skip(self, done_s: float) -> None:
        """Leave out what an earlier run has done."""
        self._heard_share = self._recognized_share = self._fraction(done_s)
        self.progress.skip(self._recognized_share)

    def follow(self, blocks: Iterator[AudioBlock]) -> Iterator[AudioBlock]:
        """Yield blocks of sound, and note how far they have come. Sound without speech is done as soon as it was heard."""
        for block in blocks:
            end_s = block.start_s + len(block.samples) / RATE_HZ
            self._heard_share = max(self._heard_share, self._fraction(end_s))
            self.recognized(end_s - PENDING_S)
            yield block

    def recognized(self, done_s: float) -> None:
        """Note up to where the speech is recognised."""
        self._recognized_share = max(self._recognized_share, self._fraction(done_s))
        self.progress.update((1.0 - self._share) * self._heard_share + self._share * self._recognized_share)

    def _fraction(self, time_s: float) -> float:
        return min(1.0, max(0.0, (time_s - self._span.start_s) / max(self._span.duration_s, 1e-3)))


@dataclass(frozen=True)
class _HeardSound:
    """What is noted of the sound while it is recognised."""

    damaged_spans: list[Span]
    meter: PeakMeter

    def follow(self, blocks: Iterator[AudioBlock]) -> Iterator[AudioBlock]:
        """Yield blocks of sound, and note their damage and their peaks."""
        for block in blocks:
            self.damaged_spans.extend(block.damaged)
            self.meter.add(block)
            yield block


def _sound_end_s(job: SourceJob) -> float | None:
    """Return where the recognition ends, in seconds; None: at the end of the sound, which may be after that of the pictures."""
    return job.span.end_s if job.span.end_s < job.video.duration_s else None


def _note(track: Track, probability: float | None, chosen_language: str | None) -> str:
    """Return the note on a finished track: no words, a doubtful language, or damaged sound."""
    from longview.model.speech.recognizer import SURE_PROBABILITY

    notes = []
    if track.language is None:
        notes.append("no speech was recognised")
    elif chosen_language is None and probability is not None and probability < SURE_PROBABILITY:
        notes.append(
            f"the language was recognised as {track.language} with a probability of only {probability:.0%}; "
            "set the language of the speech, or try a larger speech model"
        )
    if track.uncovered:
        notes.append(f"the sound is damaged from {format_spans(*track.uncovered)}")
    return "; ".join(notes)


SOURCE = SpeechSource
