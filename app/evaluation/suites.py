"""The measurements of `longview eval`: videos that are rendered or named, indexed, and compared with their labels."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from longview.app.errors import EXPECTED_ERRORS, BadRequest
from longview.app.evaluation import datasets
from longview.app.evaluation.metrics import overlap_ious
from longview.app.evaluation.runner import Evaluation
from longview.app.evaluation.word_runner import WordEvaluation
from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.core.progress import Progress
from longview.indexing.records.video import VideoEntry
from longview.model.errors import ModelError

log = logging.getLogger(__name__)

CAPTIONS_ONLY = IndexOptions(sources=("captions",))
"""Options for rendered videos, which have neither sound nor text. Their time is that of captioning."""
NEEDLE_MINUTES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
NEEDLE_DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def device(app: Longview) -> str:
    """Return the device on which the checkpoint runs."""
    return app.parts.runtime.pool.engine.device


def shapes(app: Longview, folder: Path, *, minutes: float, videos: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Measure captions, moments, answers and searches on rendered videos. `minutes`: duration of each."""
    evaluation = Evaluation(app)
    evaluated_videos = []
    for number, step in enumerate(progress.steps(videos)):
        rendering = step.child(0.0, 0.1, "Rendering")
        labels = datasets.render_video(folder, minutes=minutes, number=number, seed=seed, progress=rendering)
        result = app.index(labels.path, CAPTIONS_ONLY, progress=step.child(0.1, 0.5)).result()
        evaluation.evaluate_video(labels, result.entry, spent_s=result.seconds_spent, progress=step.child(0.5, 1.0))
        evaluated_videos.append((labels, result.entry))
    evaluation.evaluate_search(evaluated_videos, progress)
    return {"scores": evaluation.scores.summary(), "worst": evaluation.scores.worst}


def needle(app: Longview, folder: Path, *, minutes: float, seed: int, progress: Progress) -> dict[str, Any]:
    """Locate one event in rendered videos of several lengths at several depths. `minutes`: duration of the longest."""
    lengths = [length for length in NEEDLE_MINUTES if length <= minutes] or [minutes]
    lengths += [minutes] if minutes > lengths[-1] else []
    tokens, windows, grid = [], [], []
    steps = progress.steps(len(lengths) * len(NEEDLE_DEPTHS))
    for number, length in enumerate(lengths):
        column = []
        for at, depth in enumerate(NEEDLE_DEPTHS):
            step = next(steps)
            rendering = step.child(0.0, 0.3, "Rendering")
            labels = datasets.render_needle(
                folder, minutes=length, depth=depth, seed=seed + 100 * number + at, progress=rendering
            )
            entry = app.index(labels.path, CAPTIONS_ONLY, progress=step.child(0.3, 0.7)).result().entry
            location = app.locate(entry, labels.queries[0], progress=step.child(0.7, 1.0)).result()
            spans = [item.span for item in location.occurrences]
            column.append(round(min(overlap_ious(spans, labels.truth(labels.queries[0]))), 4))
            plan = app.parts.runtime.pool.planner.plan(app.parts.media.probe(entry), "caption")
            labels.path.unlink()
        tokens.append(plan.total_tokens)
        windows.append(len(plan.windows))
        grid.append(column)
    return {"needle": {"minutes": lengths, "tokens": tokens, "windows": windows, "depths": list(NEEDLE_DEPTHS), "overlaps": grid}}


def require_speech_model(app: Longview) -> None:
    """Check that speech can be recognised before anything is written.

    Raises:
        BadRequest: faster-whisper or the speech model is not installed. The message says what to install.
    """
    try:
        _ = app.parts.runtime.speech_model
    except ModelError as error:
        raise BadRequest(f"`eval words` recognises speech. {error}") from error


def words(app: Longview, folder: Path, progress: Progress) -> dict[str, Any]:
    """Measure speech, screen text and quotes on synthetic recordings."""
    evaluation = WordEvaluation(app, folder)
    evaluation.evaluate_all(progress)
    recognizer = app.parts.runtime.speech_recognizer
    return {"checkpoint": recognizer.identity, "device": recognizer.device, **evaluation.report()}


def own_labels(app: Longview, file: Path, progress: Progress) -> dict[str, Any]:
    """Measure captions, moments, answers and searches on the user's own labels.

    Raises:
        BadRequest: none of the videos can be evaluated.
    """
    evaluation = Evaluation(app)
    evaluated_videos: list[tuple[datasets.LabelledVideo, VideoEntry]] = []
    missing = []
    labelled_videos = datasets.read_labels(file)
    for (name, labels), step in zip(labelled_videos, progress.steps(len(labelled_videos)), strict=True):
        try:
            entry = _find_video(app, name, labels, step.child(0.0, 0.5))
            labels = replace(labels, duration_s=entry.duration_s)
            evaluation.evaluate_video(labels, entry, progress=step.child(0.5, 1.0))
        except EXPECTED_ERRORS as error:
            log.warning("%s is skipped: %s", name, error)
            missing.append({"video": name, "message": str(error)})
            continue
        evaluated_videos.append((labels, entry))
    if not evaluated_videos:
        raise BadRequest(f"None of the videos in {file} can be evaluated: {missing[0]['message']}")
    evaluation.evaluate_search(evaluated_videos, progress)
    return {"scores": evaluation.scores.summary(), "worst": evaluation.scores.worst, "missing": missing}


def _find_video(app: Longview, name: str, labels: datasets.LabelledVideo, progress: Progress) -> VideoEntry:
    """Return the video that a label names: a file, else an id or a title of the library."""
    if _is_file(labels.path):
        return app.get_or_index(str(labels.path), progress=progress).result()
    namesakes: Sequence[VideoEntry] = [entry for entry in app.videos() if name in (entry.title, entry.path.name)]
    return namesakes[0] if len(namesakes) == 1 else app.video(name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have this name, so it is an id or a title
        return False
