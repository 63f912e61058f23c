"""Labelled videos for the evaluation: rendered ones, whose seeds nothing else uses, or those of a user's label file."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longview.app.errors import BadRequest
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span
from longview.video.synthetic import ACTIONS, COLORS, SHAPES, ShapesEvent, render, sample_scene

FIRST_SEED = 7_000_000
"""First seed of rendered videos. Tests, benchmarks and training use other seeds."""
EVENTS_PER_MINUTE = 5
FORMATS = ((320, 192, 25.0), (640, 360, 30.0), (426, 240, 12.5))
"""Widths, heights and frame rates of rendered videos, in turn."""
MAX_QUERIES = 40
"""Maximum number of queries per video: an hour has 300 events, and each query searches all of it."""
ABSENT_QUERIES = 20
QUESTIONS = 10
MIN_EDGE_DISTANCE_S = 1.5
"""Minimum distance of a question's time from the edges of events, in seconds: near an edge, several answers are right."""


@dataclass(frozen=True)
class Question:
    """A question with its true answer: sentences in any order, or spans."""

    text: str
    sentences: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class LabelledVideo:
    """A video with its true events and the queries that are evaluated."""

    path: Path
    duration_s: float
    events: tuple[Event, ...]
    queries: tuple[str, ...]
    """Texts of events that are searched; the true spans of a query are those of all events with this text."""
    absent: tuple[str, ...] = ()
    """Queries for what does not happen."""
    questions: tuple[Question, ...] = ()

    def truth(self, query: str) -> list[Span]:
        """Return all true spans of a query."""
        return [event.span for event in self.events if event.text == query]


def render_video(folder: Path, *, minutes: float, number: int, seed: int = 0, progress: Progress = NO_PROGRESS) -> LabelledVideo:
    """Render a video of shapes: five events per minute, some of which overlap or occur twice. Videos differ by their number.

    Raises:
        Cancelled: the operation was cancelled.
    """
    width, height, fps = FORMATS[number % len(FORMATS)]
    rng = random.Random(FIRST_SEED + seed + number)
    duration_s = minutes * 60.0
    scene = sample_scene(duration_s, round(minutes * EVENTS_PER_MINUTE), seed=rng.randrange(1 << 30))
    path = folder / f"shapes-{minutes:g}min-{seed + number}.mp4"
    render(path, scene, duration_s, width=width, height=height, fps=fps, seed=rng.randrange(1 << 30), progress=progress)
    texts = list(dict.fromkeys(event.text for event in scene))
    return LabelledVideo(
        path,
        duration_s,
        tuple(event.event for event in scene),
        tuple(rng.sample(texts, min(MAX_QUERIES, len(texts)))),
        tuple(_absent_queries(scene, rng)),
        tuple(_questions(scene, rng)),
    )


def _absent_queries(scene: tuple[ShapesEvent, ...], rng: random.Random) -> Iterator[str]:
    """Yield queries for what does not happen. Similar events often do: the colour with another shape, or with another action."""
    texts = {event.text for event in scene}
    appearances = {(event.color, event.shape) for event in scene}
    queries: set[str] = set()
    attempts = 0
    while len(queries) < ABSENT_QUERIES and attempts < 100 * ABSENT_QUERIES:
        attempts += 1
        # An hour has every combination of colour and shape, but not with every action.
        kind = rng.choice(["appearance", "appearance", "sentence"])
        color, shape, action = rng.choice(list(COLORS)), rng.choice(SHAPES), rng.choice(ACTIONS)
        text = ShapesEvent(0, 1, color, shape, action).text
        query = f"{color} {shape}" if kind == "appearance" else text
        is_present = (color, shape) in appearances if kind == "appearance" else text in texts
        if is_present or query in queries:
            continue
        queries.add(query)
        yield query


def _questions(scene: tuple[ShapesEvent, ...], rng: random.Random) -> Iterator[Question]:
    for _ in range(QUESTIONS // 2):
        event = rng.choice(scene)
        time_s = round((event.start_s + event.end_s) / 2, 1)
        edges_s = (edge_s for other in scene for edge_s in (other.start_s, other.end_s))
        if any(0 < abs(edge_s - time_s) < MIN_EDGE_DISTANCE_S for edge_s in edges_s):
            continue
        sentences = tuple(other.text for other in scene if other.start_s <= time_s < other.end_s)
        yield Question(f"What happens at {time_s} seconds?", sentences=sentences)
    for event in rng.sample(scene, min(QUESTIONS // 2, len(scene))):
        spans = tuple(other.event.span for other in scene if (other.color, other.shape) == (event.color, event.shape))
        yield Question(f"When does the {event.color} {event.shape} appear?", spans=spans)


def render_needle(folder: Path, *, minutes: float, depth: float, seed: int, progress: Progress = NO_PROGRESS) -> LabelledVideo:
    """Render a long video with a single event at a depth of 0 (the start) to 1 (the end)."""
    rng = random.Random(FIRST_SEED - 1 - seed)
    duration_s = minutes * 60.0
    start_s = round(1.0 + depth * (duration_s - 8.0), 2)
    event = ShapesEvent(start_s, start_s + 6.0, rng.choice(list(COLORS)), rng.choice(SHAPES), rng.choice(ACTIONS))
    path = folder / f"needle-{minutes:g}min-{round(depth * 100)}.mp4"
    render(path, [event], duration_s, fps=12.5, seed=seed, progress=progress)
    return LabelledVideo(path, duration_s, (event.event,), (event.text,))


def read_labels(file: Path) -> list[tuple[str, LabelledVideo]]:
    """Read a user's labels in ActivityNet's form, `{"video": {"duration": d, "timestamps": [[s, e]], "sentences": […]}}`.

    Return each video's name with its labels. A name is a path (from the file's own folder), or an id or a title of the library.

    Raises:
        BadRequest: the file cannot be read, or its labels are wrong; the message says where.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadRequest(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict) or not data:
        raise BadRequest(
            f'{file} has no videos; write it in this form: {{"video.mp4": {{"timestamps": [[1.5, 4]], "sentences": ["…"]}}}}.'
        )
    return [(name, _labels(file, name, entry)) for name, entry in data.items()]


def _labels(file: Path, name: str, entry: Any) -> LabelledVideo:
    try:
        spans = [Span(float(start), float(end)) for start, end in entry["timestamps"]]
        sentences = [str(sentence).strip() for sentence in entry["sentences"]]
        if len(spans) != len(sentences):
            raise ValueError(f"the numbers of timestamps ({len(spans)}) and sentences ({len(sentences)}) differ")
        events = tuple(map(Event, spans, sentences))
        if not events or not all(sentences):
            raise ValueError("a video needs at least one timestamp, and each timestamp a sentence")
        duration_s = float(entry.get("duration", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"In {file} the labels of {name} are wrong: {error}.") from error
    return LabelledVideo(file.parent / name, duration_s, events, tuple(dict.fromkeys(sentences)))
