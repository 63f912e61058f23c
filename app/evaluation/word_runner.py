"""Evaluate the words of the application: recognised speech, words in sounds without speech, and the search for what is said."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longview.app.evaluation.sounds import SOUNDS, Sound, mix, music, pink_noise, write_wav
from longview.app.evaluation.word_material import (
    SLIDES_FILE,
    Recording,
    questions,
    read_sound,
    recordings,
    slides,
    write_transcripts,
)
from longview.app.evaluation.word_metrics import LineScores, TimedWord, WordScores, first_correct, roc_auc
from longview.app.ingest.options import IndexOptions
from longview.core.progress import Progress
from longview.indexing.records.video import VideoEntry

if TYPE_CHECKING:
    from longview.app.service import Longview

BACKGROUNDS = (("music", music, -10.0), ("pink noise", pink_noise, -5.0))
"""What is mixed under the English recording: name, sound, and its power relative to the speech, in decibels."""
SOUND_S = 45.0
"""Duration of each sound without speech, in seconds."""
RANKS = (1, 5, 10)
"""Numbers n of results at which R@n is computed."""
ANSWER_RANKS = (1, 3)
"""Numbers n of citations among which the right one has to be."""
SLACK_S = 10.0
"""Maximum distance of the start of a correct result from the true span, in seconds. Windows of the search are 20 s long."""


class WordEvaluation:
    """The evaluation of one application, whose library is empty at first. Files are written into a folder."""

    def __init__(self, app: "Longview", folder: Path) -> None:
        self._app, self._folder = app, folder
        self.recognition: dict[str, dict[str, Any]] = {}
        self.no_speech: dict[str, dict[str, Any]] = {}
        self.search: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.screen_text: dict[str, dict[str, Any]] = {}
        self._transcripts: dict[str, VideoEntry] = {}
        """The indexed transcripts by name."""
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
            "answers": self.answers,
            "screen_text": self.screen_text,
            "mistakes": self.mistakes,
            "missed": self.missed,
        }

    def evaluate_all(self, progress: Progress) -> None:
        """Evaluate search, answers, screen text, sounds without speech, and speech without and with background.

        Raises:
            VideoError, ModelError: a file cannot be indexed. Cancelled: the operation was cancelled.
        """
        self.evaluate_search(progress.child(0.0, 0.05, "Searching"))
        self.evaluate_answers(progress.child(0.05, 0.08, "Asking"))
        self.evaluate_screen_text(progress.child(0.08, 0.1, "Reading slides"))
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
        speech = read_sound(self._app.parts.decoder, files[0].path)
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
        names = {entry.video_id: name for name, entry in self._index_transcripts(progress).items()}
        ranks: dict[str, list[int | None]] = {"English": [], "other languages": [], "all": []}
        items = [(question, question.truth) for question in questions() if question.kind == "paraphrase" and question.truth]
        for (question, truth), step in zip(items, progress.steps(len(items)), strict=True):
            moments = self._app.search(question.text, limit=max(RANKS), verify=False, progress=step).result().moments
            starts_s = [moment.span.start_s if names[moment.video_id] == question.video else None for moment in moments]
            rank = first_correct(starts_s, truth, slack_s=SLACK_S)
            for group in ("English" if question.language == "en" else "other languages", "all"):
                ranks[group].append(rank)
            if rank is None:
                self.missed.append({"question": question.text, "video": question.video, "start_s": truth.start_s})
        for group, values in ranks.items():
            recall = {f"R@{n}": round(sum(rank is not None and rank <= n for rank in values) / len(values), 4) for n in RANKS}
            self.search[group] = {"questions": len(values), **recall}

    def evaluate_answers(self, progress: Progress) -> None:
        """Ask the questions about their transcripts, of which a part has no answer there. Answers are quotes."""
        entries, items = self._index_transcripts(progress), questions()
        ranks: dict[str, list[int | None]] = {"plain": [], "paraphrase": [], "absent": []}
        hits: dict[str, list[bool | None]] = {kind: [] for kind in ranks}
        confidences: dict[str, list[float]] = {kind: [] for kind in ranks}
        for question, step in zip(items, progress.steps(len(items)), strict=True):
            answer = self._app.ask([entries[question.video]], question.text, progress=step).result()
            hits[question.kind].append(answer.found)
            confidences[question.kind].append(answer.confidence or 0.0)
            overlaps_s = (citation.span.overlap_s(question.truth) for citation in answer.citations if question.truth)
            ranks[question.kind].append(next((rank for rank, shared_s in enumerate(overlaps_s, 1) if shared_s >= -SLACK_S), None))
        for kind, values in ranks.items():
            figures: dict[str, Any] = {"questions": len(values)}
            if kind != "absent":
                correct = {n: sum(rank is not None and rank <= n for rank in values) for n in ANSWER_RANKS}
                figures |= {f"right among {n}": round(count / len(values), 4) for n, count in correct.items()}
                figures["ROC AUC"] = round(roc_auc(confidences[kind], confidences["absent"]) or 0.0, 4)
            self.answers[kind] = figures | _shares(hits[kind])

    def evaluate_screen_text(self, progress: Progress) -> None:
        """Read the text of the narrated slides, and compare its lines with those that they show."""
        entry, spent_s = self._index(SLIDES_FILE, "screen_text", progress)
        scores = LineScores()
        read = [(segment.text, segment.span) for segment in self._app.segments(entry, "screen_text")]
        scores.add([(line.text, line.span) for line in slides()], read)
        self.screen_text["slides"] = scores.summary() | {"seconds_per_minute": round(60 * spent_s / entry.duration_s, 2)}

    def _index_transcripts(self, progress: Progress) -> dict[str, VideoEntry]:
        if not self._transcripts:
            for path in write_transcripts(self._folder):
                self._transcripts[path.stem], _ = self._index(path, "subtitles", progress)
        return self._transcripts

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


def _shares(hits: Sequence[bool | None]) -> dict[str, float]:
    """Return the shares of answers that are given, given as closest passages only, and refused."""
    return {
        name: round(sum(value is item for item in hits) / len(hits), 4)
        for name, value in (("answered", True), ("closest passages", None), ("refused", False))
    }
