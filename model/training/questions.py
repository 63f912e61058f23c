"""Questions about a scene and their true answers, in the wording of `longview.model.tasks.prompts`, in seconds and in H:MM:SS.

Qwen3-VL was trained on both (technical report). In the JSON tasks the question says which is wanted.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from longview.model.tasks.prompts import DENSE_CAPTIONS, LOCALIZE
from longview.model.training.scenes import Scene, VisibleEvent
from longview.video.synthetic import ACTIONS, COLORS, SHAPES
from longview.video.time_text import format_time

TimeFormat = Literal["seconds", "hms"]
Kind = Literal["dense", "localize", "when", "after", "at", "count"]
SHARES: dict[Kind, float] = {"dense": 0.30, "localize": 0.32, "when": 0.10, "after": 0.12, "at": 0.10, "count": 0.06}
"""How often each kind is asked. Localisation most: it is what the checkpoint before this recipe was weakest in."""
ABSENT = 0.3
"""Of the localisation queries, how many are drawn without regard to the scene; most of these match nothing."""
HMS_QUESTIONS = 0.2
"""Of the questions, how many ask for and name times as H:MM:SS.d."""
IN_SECONDS, AS_HMS = '"start" and "end" in seconds', '"start" and "end" as H:MM:SS'
NOTHING_NOW, NOTHING_AFTER = "Nothing happens at that time.", "Nothing happens after that."
PROGRESSIVE = dict(
    zip(
        ACTIONS,
        ("moving to the right", "moving to the left", "moving up", "moving down", "growing", "shrinking", "staying still"),
        strict=True,
    )
)
QUERY_FORMS = (
    ("a {color} {shape} {action}", ("color", "shape", "action")),
    ("{color} {shape}", ("color", "shape")),
    ("the {color} {shape} is {doing}", ("color", "shape", "action")),
    ("a {shape} {doing}", ("shape", "action")),
    ("something {color}", ("color",)),
    ("a {shape}", ("shape",)),
)
"""How a query says what it is about, and which attributes an event must share to match it."""


@dataclass(frozen=True)
class Turn:
    """A question and its true answer."""

    question: str
    answer: str
    kind: Kind
    about: tuple[tuple[int, int], ...] | None
    """First and last patch of each stretch that the question speaks of; none if it speaks of no stretch."""


def clock_text(time_s: float, clock: TimeFormat) -> str:
    """A time as a marker or a sentence has it, to a tenth of a second: `62.5` or `0:01:02.5`."""
    return f"{time_s:.1f}" if clock == "seconds" else format_time(time_s)


def ask(rng: random.Random, scene: Scene, kind: Kind, clock: TimeFormat) -> Turn:
    """One question of a kind about a scene in which at least one event is seen."""
    return _ASKED[kind](rng, scene, clock)


def conversation(rng: random.Random, scene: Scene, count: int) -> tuple[Turn, ...]:
    """Up to `count` different questions about one scene, of kinds drawn by `SHARES`.

    Dense captions come last, so that no later answer can simply be copied from them.
    """
    turns = [ask(rng, scene, kind, sample_clock(rng)) for kind in rng.choices(list(SHARES), list(SHARES.values()), k=count)]
    different = {turn.question: turn for turn in turns}.values()
    return tuple(sorted(different, key=lambda turn: turn.kind == "dense"))


def sample_clock(rng: random.Random) -> TimeFormat:
    """How one question writes its times."""
    return "hms" if rng.random() < HMS_QUESTIONS else "seconds"


def _json_times(scene: Scene, seen: VisibleEvent, clock: TimeFormat) -> dict[str, Any]:
    texts = [clock_text(scene.timestamps_s[patch], clock) for patch in (seen.first, seen.last)]
    start, end = (float(text) for text in texts) if clock == "seconds" else texts
    return {"start": start, "end": end}


def _dense(rng: random.Random, scene: Scene, clock: TimeFormat) -> Turn:  # noqa: ARG001 (one signature for all kinds)
    told = [_json_times(scene, seen, clock) | {"description": seen.event.text} for seen in scene.visible_events]
    return Turn(_prompt(DENSE_CAPTIONS, clock), json.dumps(told), "dense", None)


def _localize(rng: random.Random, scene: Scene, clock: TimeFormat) -> Turn:
    if rng.random() < ABSENT:
        wanted = {"color": rng.choice(tuple(COLORS)), "shape": rng.choice(SHAPES), "action": rng.choice(ACTIONS)}
    else:
        event = rng.choice(scene.visible_events).event
        wanted = {"color": event.color, "shape": event.shape, "action": event.action}
    form, attributes = rng.choice(QUERY_FORMS)
    hits = [seen for seen in scene.visible_events if all(getattr(seen.event, name) == wanted[name] for name in attributes)]
    query = form.format(**wanted, doing=PROGRESSIVE[wanted["action"]])
    answer = json.dumps([_json_times(scene, seen, clock) for seen in hits])
    about = tuple((seen.first, seen.last) for seen in hits)
    return Turn(_prompt(LOCALIZE, clock).format(query=query), answer, "localize", about)


def _prompt(prompt: str, clock: TimeFormat) -> str:
    assert IN_SECONDS in prompt
    return prompt if clock == "seconds" else prompt.replace(IN_SECONDS, AS_HMS)


def _at(rng: random.Random, scene: Scene, clock: TimeFormat) -> Turn:
    patch = rng.randrange(scene.patches)
    now = [seen.event.text for seen in scene.visible_events if seen.first <= patch <= seen.last]
    time = clock_text(scene.timestamps_s[patch], clock) + (" seconds" if clock == "seconds" else "")
    question = rng.choice(("What happens at {}?", "What is in the video at {}?")).format(time)
    return Turn(question, " ".join(now) or NOTHING_NOW, "at", ((patch, patch),))


def _when(rng: random.Random, scene: Scene, clock: TimeFormat) -> Turn:
    look = rng.choice(scene.visible_events).look
    same = [seen for seen in scene.visible_events if seen.look == look]
    unit = " seconds" if clock == "seconds" else ""
    times = [tuple(clock_text(scene.timestamps_s[patch], clock) for patch in (seen.first, seen.last)) for seen in same]
    forms = ("When does the {} appear?", "When can I see the {}?", "At what time is the {} visible?")
    question = rng.choice(forms).format(look) + ("" if clock == "seconds" else " Answer as H:MM:SS.")
    answer = " and ".join(f"From {first} to {last}{unit}" for first, last in times) + "."
    return Turn(question, answer, "when", tuple((seen.first, seen.last) for seen in same))


def _after(rng: random.Random, scene: Scene, clock: TimeFormat) -> Turn:  # noqa: ARG001
    # Only about what is there once: "after the red circle" has two answers where there are two.
    looks = [seen.look for seen in scene.visible_events]
    once = [index for index, look in enumerate(looks) if looks.count(look) == 1] or list(range(len(looks)))
    index = rng.choice(once)
    seen = scene.visible_events[index]
    answer = scene.visible_events[index + 1].event.text if index + 1 < len(scene.visible_events) else NOTHING_AFTER
    return Turn(f"What happens after the {seen.look}?", answer, "after", ((seen.first, seen.last),))


def _count(rng: random.Random, scene: Scene, clock: TimeFormat) -> Turn:  # noqa: ARG001
    question = rng.choice(("How many events are in the video?", "How many things happen in this video?"))
    return Turn(question, f"{len(scene.visible_events)}.", "count", None)


_ASKED: dict[Kind, Callable[[random.Random, Scene, TimeFormat], Turn]] = {
    "dense": _dense,
    "localize": _localize,
    "when": _when,
    "after": _after,
    "at": _at,
    "count": _count,
}
