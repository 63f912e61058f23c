"""Questions about a scene and their true answers, in the wording of the profile of the bundled checkpoint.

Times are in seconds or as H:MM:SS, because Qwen3-VL was trained on both (technical report). The questions of the JSON tasks say
which one is requested.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from longview.core.time_format import format_time
from longview.model.engine.checkpoints.checkpoints import TEMPLATE_PROFILE
from longview.model.engine.checkpoints.profiles import read_profile
from longview.model.training.scenes import Scene, VisibleEvent
from longview.video.synthetic import ACTIONS, COLORS, SHAPES

PROMPTS = read_profile(TEMPLATE_PROFILE).prompts
TimeFormat = Literal["seconds", "hms"]
Kind = Literal["dense", "localize", "when", "after", "at", "count"]
KIND_SHARES: dict[Kind, float] = {"dense": 0.30, "localize": 0.32, "when": 0.10, "after": 0.12, "at": 0.10, "count": 0.06}
"""Share of each kind among the questions. Localisation is the most frequent, because earlier checkpoints were worst at it."""
RANDOM_QUERY_SHARE = 0.3
"""Share of the localisation queries that are drawn independently of the scene. Most of them match nothing."""
HMS_QUESTION_SHARE = 0.2
"""Share of the questions that name and request times as H:MM:SS.d."""
IN_SECONDS, AS_HMS = '"start" and "end" in seconds', '"start" and "end" as H:MM:SS'
NOTHING_NOW, NOTHING_AFTER = "Nothing happens at that time.", "Nothing happens after that."
PROGRESSIVE = dict(
    zip(
        ACTIONS,
        ("moving to the right", "moving to the left", "moving up", "moving down", "growing", "shrinking", "staying still"),
        strict=True,
    )
)
QUERY_TEMPLATES = (
    ("a {color} {shape} {action}", ("color", "shape", "action")),
    ("{color} {shape}", ("color", "shape")),
    ("the {color} {shape} is {doing}", ("color", "shape", "action")),
    ("a {shape} {doing}", ("shape", "action")),
    ("something {color}", ("color",)),
    ("a {shape}", ("shape",)),
)
"""Templates of localisation queries, and the attributes that an event must share with the query to match it."""


@dataclass(frozen=True)
class Turn:
    """A question and its true answer."""

    question: str
    answer: str
    kind: Kind
    about: tuple[tuple[int, int], ...] | None
    """First and last patch of each span that the question is about; None if it is not about certain spans."""


def format_timestamp(time_s: float, time_format: TimeFormat) -> str:
    """Format a time for a timestamp or a sentence, to a tenth of a second: `62.5` or `0:01:02.5`."""
    return f"{time_s:.1f}" if time_format == "seconds" else format_time(time_s)


def sample_turn(rng: random.Random, scene: Scene, kind: Kind, time_format: TimeFormat) -> Turn:
    """Sample a question of a kind about a scene in which at least one event is visible."""
    return _SAMPLERS[kind](rng, scene, time_format)


def sample_conversation(rng: random.Random, scene: Scene, count: int) -> tuple[Turn, ...]:
    """Sample up to `count` different questions about one scene, of kinds drawn by `KIND_SHARES`.

    Dense captions come last, so that no later answer can be copied from them.
    """
    kinds = rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()), k=count)
    turns = [sample_turn(rng, scene, kind, sample_time_format(rng)) for kind in kinds]
    different = {turn.question: turn for turn in turns}.values()
    return tuple(sorted(different, key=lambda turn: turn.kind == "dense"))


def sample_time_format(rng: random.Random) -> TimeFormat:
    """Sample the time format of one question."""
    return "hms" if rng.random() < HMS_QUESTION_SHARE else "seconds"


def _json_times(scene: Scene, visible: VisibleEvent, time_format: TimeFormat) -> dict[str, Any]:
    texts = [format_timestamp(scene.timestamps_s[patch], time_format) for patch in (visible.first_patch, visible.last_patch)]
    start, end = (float(text) for text in texts) if time_format == "seconds" else texts
    return {"start": start, "end": end}


def _sample_dense(rng: random.Random, scene: Scene, time_format: TimeFormat) -> Turn:  # noqa: ARG001 (one signature for all)
    captions = [
        _json_times(scene, visible, time_format) | {"description": visible.event.text} for visible in scene.visible_events
    ]
    return Turn(_with_time_format(PROMPTS.dense_captions, time_format), json.dumps(captions), "dense", None)


def _sample_localize(rng: random.Random, scene: Scene, time_format: TimeFormat) -> Turn:
    if rng.random() < RANDOM_QUERY_SHARE:
        target = {"color": rng.choice(tuple(COLORS)), "shape": rng.choice(SHAPES), "action": rng.choice(ACTIONS)}
    else:
        event = rng.choice(scene.visible_events).event
        target = {"color": event.color, "shape": event.shape, "action": event.action}
    template, attributes = rng.choice(QUERY_TEMPLATES)
    matches = [
        visible for visible in scene.visible_events if all(getattr(visible.event, name) == target[name] for name in attributes)
    ]
    query = template.format(**target, doing=PROGRESSIVE[target["action"]])
    answer = json.dumps([_json_times(scene, visible, time_format) for visible in matches])
    about = tuple((visible.first_patch, visible.last_patch) for visible in matches)
    return Turn(_with_time_format(PROMPTS.localization, time_format).format(query=query), answer, "localize", about)


def _with_time_format(prompt: str, time_format: TimeFormat) -> str:
    assert IN_SECONDS in prompt
    return prompt if time_format == "seconds" else prompt.replace(IN_SECONDS, AS_HMS)


def _sample_at(rng: random.Random, scene: Scene, time_format: TimeFormat) -> Turn:
    patch = rng.randrange(scene.patches)
    texts = [visible.event.text for visible in scene.visible_events if visible.first_patch <= patch <= visible.last_patch]
    time = format_timestamp(scene.timestamps_s[patch], time_format) + (" seconds" if time_format == "seconds" else "")
    question = rng.choice(("What happens at {}?", "What is in the video at {}?")).format(time)
    return Turn(question, " ".join(texts) or NOTHING_NOW, "at", ((patch, patch),))


def _sample_when(rng: random.Random, scene: Scene, time_format: TimeFormat) -> Turn:
    appearance = rng.choice(scene.visible_events).appearance
    matches = [visible for visible in scene.visible_events if visible.appearance == appearance]
    spans = tuple((visible.first_patch, visible.last_patch) for visible in matches)
    unit = " seconds" if time_format == "seconds" else ""
    times = [tuple(format_timestamp(scene.timestamps_s[patch], time_format) for patch in span) for span in spans]
    templates = ("When does the {} appear?", "When can I see the {}?", "At what time is the {} visible?")
    question = rng.choice(templates).format(appearance) + ("" if time_format == "seconds" else " Answer as H:MM:SS.")
    answer = " and ".join(f"From {first} to {last}{unit}" for first, last in times) + "."
    return Turn(question, answer, "when", spans)


def _sample_after(rng: random.Random, scene: Scene, time_format: TimeFormat) -> Turn:  # noqa: ARG001
    # Events of a unique appearance are preferred: "after the red circle" has two answers if there are two of them.
    appearances = [visible.appearance for visible in scene.visible_events]
    unique = [index for index, appearance in enumerate(appearances) if appearances.count(appearance) == 1]
    index = rng.choice(unique or list(range(len(appearances))))
    visible = scene.visible_events[index]
    answer = scene.visible_events[index + 1].event.text if index + 1 < len(scene.visible_events) else NOTHING_AFTER
    question = f"What happens after the {visible.appearance}?"
    return Turn(question, answer, "after", ((visible.first_patch, visible.last_patch),))


def _sample_count(rng: random.Random, scene: Scene, time_format: TimeFormat) -> Turn:  # noqa: ARG001
    question = rng.choice(("How many events are in the video?", "How many things happen in this video?"))
    return Turn(question, f"{len(scene.visible_events)}.", "count", None)


_SAMPLERS: dict[Kind, Callable[[random.Random, Scene, TimeFormat], Turn]] = {
    "dense": _sample_dense,
    "localize": _sample_localize,
    "when": _sample_when,
    "after": _sample_after,
    "at": _sample_at,
    "count": _sample_count,
}
