"""Evaluate the words of the application: recognised speech, words in sounds without speech, and the search for what is said."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longview.app.evaluation.sounds import SOUNDS, Sound, mix, music, pink_noise, write_wav
from longview.app.evaluation.word_material import Recording, questions, read_sound, recordings, write_transcripts
from longview.app.evaluation.word_metrics import TimedWord, WordScores, first_correct
from longview.app.indexer import IndexOptions
from longview.indexing.library import VideoEntry
from longview.video.progress import Progress

if TYPE_CHECKING:
    from longview.app.service import Longview

BACKGROUNDS = (("music", music, -10.0), ("pink noise", pink_noise, -5.0))
"""What is mixed under the English recording: name, sound, and its power relative to the speech, in decibels."""
SOUND_S = 45.0
"""Duration of each sound without speech, in seconds."""
RANKS = (1, 5, 10)
"""Numbers n of results at which R@n is computed."""
SLACK_S = 10.0
"""Maximum distance of the start of a correct result from the true span, in seconds. Windows of the search are 20 s long."""


class WordEvaluation:
    """The evaluation of one application, whose library is empty at first. Files are written into a folder."""

    def __init__(self, app: "Longview", folder: Path) -> None:
        self._app, self._folder = app, folder
        self.recognition: dict[str, dict[str, Any]] = {}
        self.no_speech: dict[str, dict[str, Any]] = {}
        self.search: dict[str, dict[str, Any]] = {}
        self.mistakes: list[dict[str, Any]] = []
        """Words that were not recognised as they were said, in recordings without background."""
        self.missed: list[dict[str, Any]] = []
        """Questions without a correct result."""

    def report(self) -> dict[str, Any]:
        """Return the figures of all parts that were evaluated."""
        return {
            "recognition": self.recognition,
            "no_speech": self.no_speech,
            "search": self.search,
            "mistakes": self.mistakes,
            "missed": self.missed,
        }

    def evaluate_all(self, progress: Progress) -> None:
        """Evaluate search, sounds without speech, and speech without and with background.

        Raises:
            VideoError, ModelError: a file cannot be indexed. Cancelled: the operation was cancelled.
        """
        self.evaluate_search(progress.child(0.0, 0.1, "Searching"))
        # The recogniser is loaded here, so that the time of the recordings does not include it.
        self.evaluate_sounds(progress.child(0.1, 0.25, "Sounds without speech"))
        files, total = recordings(), WordScores()
        steps = progress.child(0.25, 1.0).steps(len(files) + len(BACKGROUNDS))
        for recording in files:
            step = next(steps).child(0.0, 1.0, f"Speech: {recording.language}")
            scores = self.evaluate_recording(recording, recording.language, step)
            self.mistakes += [{"recording": recording.language, **mistake} for mistake in scores.mistakes]
            total.extend(scores)
        self.recognition["all"] = total.summary()
        speech = read_sound(self._app.decoder, files[0].path)
        for name, synthesize, level_db in BACKGROUNDS:
            path = self._write(f"speech with {name}", mix(speech, synthesize(files[0].duration_s + 1.0), level_db))
            mixed = Recording(path, files[0].language, files[0].duration_s, files[0].words)
            name = f"{mixed.language}, {name} at {level_db:g} dB"
            self.evaluate_recording(mixed, name, next(steps).child(0.0, 1.0, f"Speech: {name}"))

    def evaluate_recording(self, recording: Recording, name: str, progress: Progress) -> WordScores:
        """Recognise a recording, and compare its words and their times."""
        entry, spent_s = self._index(recording.path, "speech", progress)
        track, scores = entry.track("speech"), WordScores()
        scores.add(recording.words, self._words(entry))
        self.recognition[name] = scores.summary() | {
            "language": track.language if track else None,
            "seconds_per_minute": round(60 * spent_s / recording.duration_s, 2),
        }
        return scores

    def evaluate_sounds(self, progress: Progress) -> None:
        """Count the words that are recognised in sounds without speech."""
        for (name, synthesize), step in zip(SOUNDS.items(), progress.steps(len(SOUNDS)), strict=True):
            entry, _ = self._index(self._write(name, synthesize(SOUND_S)), "speech", step)
            words = [word.text for word in self._words(entry)]
            self.no_speech[name] = {"seconds": SOUND_S, "words": len(words), "text": " ".join(words)}

    def evaluate_search(self, progress: Progress) -> None:
        """Index the transcripts, and search all of them for the answer of each question."""
        names = {}
        for path in write_transcripts(self._folder):
            entry, _ = self._index(path, "subtitles", progress)
            names[entry.video_id] = path.stem
        ranks: dict[str, list[int | None]] = {"English": [], "other languages": [], "all": []}
        items = questions()
        for question, step in zip(items, progress.steps(len(items)), strict=True):
            moments = self._app.search(question.text, limit=max(RANKS), verify=False, progress=step).result().moments
            starts_s = [moment.span.start_s if names[moment.video_id] == question.video else None for moment in moments]
            rank = first_correct(starts_s, question.truth, slack_s=SLACK_S)
            for group in ("English" if question.language == "en" else "other languages", "all"):
                ranks[group].append(rank)
            if rank is None:
                self.missed.append({"question": question.text, "video": question.video, "start_s": question.truth.start_s})
        for group, values in ranks.items():
            recall = {f"R@{n}": round(sum(rank is not None and rank <= n for rank in values) / len(values), 4) for n in RANKS}
            self.search[group] = {"questions": len(values), **recall}

    def _index(self, path: Path, source: str, progress: Progress) -> tuple[VideoEntry, float]:
        """Run one source for a file; return the entry and the time in seconds that the source took."""
        result = self._app.index(path, IndexOptions(sources=(source,)), progress=progress).result()
        report = result.report(source)
        if report is not None and report.error is not None:
            raise report.error
        return result.entry, report.seconds_spent if report else 0.0

    def _words(self, entry: VideoEntry) -> list[TimedWord]:
        segments = self._app.segments(entry, "speech")
        return [TimedWord(word.text, word.span.start_s, word.span.end_s) for segment in segments for word in segment.words]

    def _write(self, name: str, sound: Sound) -> Path:
        return write_wav(self._folder / f"{name}.wav", sound)
