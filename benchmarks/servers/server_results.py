"""What Longview makes of rendered videos with one model: captions, occurrences and answers, and how two models agree in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.robustness.longview_commands import Commands, Outcome, UnexpectedResult
from longview.video.synthetic import COLORS, SHAPES, ShapesEvent, render, sample_events

EVENTS_PER_MINUTE = 6
FPS = 15.0
SUBJECT_WORDS = 3
"""Number of words at the beginning of a caption that name what is seen."""
MIN_OVERLAP = 0.5
"""Minimum ratio of the overlap of a caption with an event to both together, so that the caption is about the event."""


@dataclass(frozen=True)
class Video:
    """A rendered video with its true events."""

    path: Path
    events: tuple[ShapesEvent, ...]


@dataclass(frozen=True)
class Caption:
    """One caption with its times, in seconds."""

    start_s: float
    end_s: float
    text: str

    @property
    def subject(self) -> str:
        """What is seen, without what it does."""
        return subject(self.text)


@dataclass(frozen=True)
class Captions:
    """The captions of a video, and what they cost."""

    items: tuple[Caption, ...]
    seconds: float
    """Time that the source `captions` took, in seconds."""

    def describe(self) -> str:
        """Return the captions in one line."""
        return "; ".join(f"{item.start_s:.1f}-{item.end_s:.1f} {item.text}" for item in self.items)


@dataclass(frozen=True)
class Occurrences:
    """What `locate` says about a query."""

    found: bool | None
    spans: tuple[tuple[float, float], ...]

    def describe(self) -> str:
        """Return the occurrences in one line."""
        return ", ".join(f"{start:.1f}-{end:.1f}" for start, end in self.spans) or f"found: {self.found}"


@dataclass(frozen=True)
class Reply:
    """An answer, and what it cost."""

    text: str
    prompt_tokens: int


@dataclass(frozen=True)
class Agreement:
    """How captions agree with others."""

    count: int
    equal: int
    """Captions that have the same text as one of the others at that time."""
    same_subject: int
    """Captions that name the same coloured shape, whatever it does."""
    max_difference_s: float
    """Maximum difference of a start or an end, among captions of the same subject."""


def render_video(path: Path, duration_s: float, *, seed: int) -> Video:
    """Render a video with events that follow from a seed."""
    events = sample_events(duration_s, round(duration_s / 60.0 * EVENTS_PER_MINUTE), seed=seed)
    return Video(render(path, events, duration_s, fps=FPS, seed=seed), events)


def subject(text: str) -> str:
    """Return what a caption or an answer is about, such as "A red circle", without what it does."""
    return " ".join(text.split()[:SUBJECT_WORDS])


def name_of(event: ShapesEvent) -> str:
    """Return the name of a coloured shape."""
    return f"{event.color} {event.shape}"


def queries(video: Video) -> tuple[str, ...]:
    """Return two queries for what is in a video, and one for what is not."""
    present = {name_of(event) for event in video.events}
    absent = next(f"{color} {shape}" for color in COLORS for shape in SHAPES if f"{color} {shape}" not in present)
    return f"a {name_of(video.events[1])}", f"a {name_of(video.events[-2])}", f"a {absent}"


def questions(video: Video) -> tuple[str, ...]:
    """Return three questions that the bundled checkpoint answers."""
    middle = video.events[len(video.events) // 2]
    return (
        "How many events are in the video?",
        f"What happens at {(middle.start_s + middle.end_s) / 2:.1f} seconds?",
        f"What happens after the {name_of(middle)}?",
    )


def index(commands: Commands, video: Video) -> Captions:
    """Index a video, and return its captions.

    Raises:
        UnexpectedResult: it failed.
    """
    outcome = commands.run("index", str(video.path), "--sources", "captions")
    if outcome.status:
        raise UnexpectedResult(f"expected captions of {video.path.name}, got exit status {outcome.status}: {outcome.error}")
    return Captions(stored_captions(commands, video), caption_seconds(outcome))


def caption_seconds(outcome: Outcome) -> float:
    """Return the time that captions took, in seconds, without the start of the program."""
    (entry,) = outcome.document["videos"]
    return float(next(source["seconds_spent"] for source in entry["sources"] if source["source"] == "captions"))


def stored_captions(commands: Commands, video: Video) -> tuple[Caption, ...]:
    """Return the captions of a video in the library."""
    events: list[dict[str, Any]] = commands.read("caption", str(video.path))["events"]
    return tuple(Caption(event["start_s"], event["end_s"], event["text"]) for event in events)


def caption_status(commands: Commands, video: Video) -> str:
    """Return the status of the captions of a video in the library; `none` if it has none."""
    entries = [entry for entry in commands.read("list")["videos"] if entry["path"] == str(video.path)]
    statuses = [track["status"] for entry in entries for track in entry["tracks"] if track["source"] == "captions"]
    return str(statuses[0]) if statuses else "none"


def locate(commands: Commands, video: Video, query: str) -> Occurrences:
    """Find a query in a video.

    Raises:
        UnexpectedResult: it failed.
    """
    document = commands.read("locate", str(video.path), query)
    return Occurrences(document["found"], tuple((span["start_s"], span["end_s"]) for span in document["spans"]))


def ask(commands: Commands, video: Video, question: str) -> Reply:
    """Answer a question about a video.

    Raises:
        UnexpectedResult: it failed.
    """
    document = commands.read("ask", str(video.path), question)
    return Reply(document["answer"], document["coverage"]["prompt_tokens"])


def compare(captions: Sequence[Caption], others: Sequence[Caption]) -> Agreement:
    """Compare captions with others, each with the one at its time."""
    equal = same_subject = 0
    max_difference_s = 0.0
    for caption in captions:
        for other in others:
            if caption.subject == other.subject and _overlap(caption, other) >= MIN_OVERLAP:
                same_subject += 1
                equal += caption.text == other.text
                difference_s = max(abs(caption.start_s - other.start_s), abs(caption.end_s - other.end_s))
                max_difference_s = max(max_difference_s, difference_s)
                break
    return Agreement(len(captions), equal, same_subject, max_difference_s)


def truth(video: Video) -> tuple[Caption, ...]:
    """Return the true captions of a video."""
    return tuple(Caption(event.start_s, event.end_s, event.text) for event in video.events)


def _overlap(a: Caption, b: Caption) -> float:
    common_s = max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
    return common_s / (max(a.end_s, b.end_s) - min(a.start_s, b.start_s))
