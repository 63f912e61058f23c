"""What is evaluated: videos with their true moments. Rendered ones with seeds of their own, or a user's labelled file."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longview.app.errors import BadRequest
from longview.video.synthetic import ACTIONS, COLORS, SHAPES, ShapesEvent, render, sample_scene
from longview.video.timeline import Event, Span

FIRST_SEED = 7_000_000
"""Of rendered videos. Tests, benchmarks and training use others."""
EVENTS_PER_MINUTE = 5
FORMATS = ((320, 192, 25.0), (640, 360, 30.0), (426, 240, 12.5))
"""Widths, heights and frame rates that rendered videos take turns with."""
MAX_QUERIES = 40
"""Of one video: an hour has 300 events, and each query looks at all of it."""
ABSENT_QUERIES = 20
QUESTIONS = 10


@dataclass(frozen=True)
class Question:
    """A question with its true answer: sentences in any order, or spans."""

    text: str
    sentences: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class LabelledVideo:
    """One video and what is true of it."""

    path: Path
    duration_s: float
    events: tuple[Event, ...]
    queries: tuple[str, ...]
    """Sentences of events that are searched; all true spans of a query are those of the events with that text."""
    absent: tuple[str, ...] = ()
    """Queries for what does not happen."""
    questions: tuple[Question, ...] = ()

    def truth(self, query: str) -> list[Span]:
        """All spans that a query should find."""
        return [event.span for event in self.events if event.text == query]


def render_videos(folder: Path, *, minutes: float, videos: int, seed: int = 0) -> Iterator[LabelledVideo]:
    """Videos of shapes, rendered one by one: five events a minute, some overlapping, some twice."""
    for number in range(videos):
        width, height, fps = FORMATS[number % len(FORMATS)]
        chance = random.Random(FIRST_SEED + seed + number)
        duration_s = minutes * 60.0
        scene = sample_scene(duration_s, round(minutes * EVENTS_PER_MINUTE), seed=chance.randrange(1 << 30))
        path = folder / f"shapes-{minutes:g}min-{seed + number}.mp4"
        render(path, scene, duration_s, width=width, height=height, fps=fps, seed=chance.randrange(1 << 30))
        texts = list(dict.fromkeys(event.text for event in scene))
        yield LabelledVideo(
            path,
            duration_s,
            tuple(event.event for event in scene),
            tuple(chance.sample(texts, min(MAX_QUERIES, len(texts)))),
            tuple(_absent(scene, chance)),
            tuple(_questions(scene, chance)),
        )


def _absent(scene: tuple[ShapesEvent, ...], rng: random.Random) -> Iterator[str]:
    """Queries for what is not there. The likes of it often are: the colour with another shape, the look with another action."""
    shown = {event.text for event in scene}
    looks = {(event.color, event.shape) for event in scene}
    made: set[str] = set()
    tries = 0
    while len(made) < ABSENT_QUERIES and tries < 100 * ABSENT_QUERIES:
        tries += 1
        kind = rng.choice(["look", "look", "sentence"])
        color, shape, action = rng.choice(list(COLORS)), rng.choice(SHAPES), rng.choice(ACTIONS)
        text = ShapesEvent(0, 1, color, shape, action).text
        query = f"{color} {shape}" if kind == "look" else text
        # In an hour every look is there, but not every look with every action.
        if ((color, shape) in looks if kind == "look" else text in shown) or query in made:
            continue
        made.add(query)
        yield query


def _questions(scene: tuple[ShapesEvent, ...], rng: random.Random) -> Iterator[Question]:
    for _ in range(QUESTIONS // 2):
        event = rng.choice(scene)
        at_s = round((event.start_s + event.end_s) / 2, 1)
        # Not near an edge of another event, where a second more or less is another answer.
        if any(0 < abs(edge - at_s) < 1.5 for other in scene for edge in (other.start_s, other.end_s)):
            continue
        now = tuple(other.text for other in scene if other.start_s <= at_s < other.end_s)
        yield Question(f"What happens at {at_s} seconds?", sentences=now)
    for event in rng.sample(scene, min(QUESTIONS // 2, len(scene))):
        spans = tuple(other.event.span for other in scene if (other.color, other.shape) == (event.color, event.shape))
        yield Question(f"When does the {event.color} {event.shape} appear?", spans=spans)


def render_needle(folder: Path, *, minutes: float, depth: float, seed: int) -> LabelledVideo:
    """One event in a long video where nothing else happens, `depth` (0 to 1) of the way through it."""
    chance = random.Random(FIRST_SEED - 1 - seed)
    duration_s = minutes * 60.0
    start_s = round(1.0 + depth * (duration_s - 8.0), 2)
    event = ShapesEvent(start_s, start_s + 6.0, chance.choice(list(COLORS)), chance.choice(SHAPES), chance.choice(ACTIONS))
    path = folder / f"needle-{minutes:g}min-{round(depth * 100)}.mp4"
    render(path, [event], duration_s, fps=12.5, seed=seed)
    return LabelledVideo(path, duration_s, (event.event,), (event.text,))


def read_labels(file: Path) -> list[tuple[str, LabelledVideo]]:
    """A user's labels in ActivityNet's form, `{"video": {"duration": d, "timestamps": [[s, e]], "sentences": […]}}`.

    Returns each video's name, which is a path (from the file's own folder), an id or a title of the library, with its labels.

    Raises:
        BadRequest: the file cannot be read, or says where it is wrong.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadRequest(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict) or not data:
        raise BadRequest(
            f'{file} holds no videos: it should look like {{"video.mp4": {{"timestamps": [[1.5, 4]], "sentences": ["…"]}}}}.'
        )
    return [(name, _labels(file, name, entry)) for name, entry in data.items()]


def _labels(file: Path, name: str, entry: Any) -> LabelledVideo:
    try:
        spans = [Span(float(start), float(end)) for start, end in entry["timestamps"]]
        sentences = [str(sentence).strip() for sentence in entry["sentences"]]
        if len(spans) != len(sentences):
            raise ValueError(f"there are {len(spans)} timestamps, but {len(sentences)} sentences")
        events = tuple(map(Event, spans, sentences))
        if not events or not all(sentences):
            raise ValueError("a video needs at least one moment, and each moment a sentence")
        duration_s = float(entry.get("duration", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"In {file} the labels of {name} are wrong: {error}.") from error
    return LabelledVideo(file.parent / name, duration_s, events, tuple(dict.fromkeys(sentences)))
