"""Replies in the forms of fine-tuned checkpoints are parsed; a reply in none of a profile's forms is no "not found"."""

import json
from pathlib import Path

import pytest

from longview.core.timeline import Event, Span
from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.profiles import SpanForm, read_named_profile
from longview.model.tasks.reply_forms import parse_captions, parse_spans
from tests.support.fakes import FakeSession

SENTENCES = [
    "The event happens in 3.2 - 5.2 seconds.",
    "The event happens in the 3.2 - 5.2 seconds",
    "The event happens in <3.2 seconds> - <5.2 seconds>.",
    "'The event happens in 3.2 - 5.2 seconds'.",
    "The event occurs from 3.2s to 5.2s.",
    "The visual event takes place between 3.2 and 5.2 seconds.",
    "<think>Is it 9.0 - 11.0?</think>The event happens in 3.2 - 5.2 seconds.",
    "3.2 - 5.2 seconds",
    "The event happens in 0:03.2 – 0:05.2.",
    "The event happens in 5.2 - 3.2 seconds.",
]
FROM_TO = [
    "From 3.2 to 5.2.",
    "From 3.2 to 5.2 seconds.",
    "<think>From 3.2 to 5.2.",
    "<think>\n\n</think>\n\nFrom 3.2 to 5.2.",
    "from 3.2s to 5.2s",
    "From <3.2> to <5.2>.",
    "The person jumps from 3.2 to 5.2.",
    "3.2 to 5.2",
    "From 0:03.2 to 0:05.2.",
    "From 3.2 - 5.2.",
]
PAIRS = [
    "[[3.2, 5.2]]",
    "[3.2, 5.2]",
    "```json\n[[3.2, 5.2]]\n```",
    "The spans are [[3.2, 5.2]].",
    '[["3.2", "5.2"]]',
    "<think>[[9, 11]]</think>[[3.2, 5.2]]",
    '{"spans": [[3.2, 5.2]]}',
    '[{"start": 3.2, "end": 5.2}]',
    "[[5.2, 3.2]]",
    "[[3.2, 5.2], [20.2",
]
NO_FORM = ["", "No.", "I cannot see that event.", "The event happens.", "[", "3.2", "seconds", "None", "From here to there.", "{"]


def session() -> VideoSession:
    return FakeSession(Span(0.0, 60.0))


@pytest.mark.parametrize(
    ("form", "reply"),
    [("sentence", reply) for reply in SENTENCES]
    + [("from to", reply) for reply in FROM_TO]
    + [("pairs", reply) for reply in PAIRS],
)
def test_span_is_read_in_every_form(form: SpanForm, reply: str) -> None:
    parsed = parse_spans(reply, session(), form)
    assert [event.span for event in parsed.events] == [Span(3.0, 5.5)] and parsed.has_form


@pytest.mark.parametrize("reply", NO_FORM)
@pytest.mark.parametrize("form", ["sentence", "from to", "pairs"])
def test_reply_in_no_form_is_no_absence(form: SpanForm, reply: str) -> None:
    assert not parse_spans(reply, session(), form).has_form


def test_pairs_may_be_several_or_none() -> None:
    parsed = parse_spans("[[10.2, 12.2], [3.2, 5.2]]", session(), "pairs")
    assert [event.span for event in parsed.events] == [Span(3.0, 5.5), Span(10.0, 12.5)]
    absent = parse_spans("[]", session(), "pairs")
    assert absent.has_form and absent.events == ()


def test_event_lines_are_captions_and_the_scene_is_none() -> None:
    reply = (
        "<think>\nScene: A park with a bench, from 0 to 9.\n\nEvents:\n<3.2 - 5.2> A dog runs.\n- [10.2 - 12.2]: It sits\n"
        "<70.0 - 80.0> Beyond the end.\n<20.2 - 2"
    )
    parsed = parse_captions(reply, session(), "event lines")
    assert parsed.events == (Event(Span(3.0, 5.5), "A dog runs."), Event(Span(10.0, 12.5), "It sits"))
    assert parsed.rejected_count == 1 and parsed.has_form
    assert not parse_captions("Scene: A park.\nEvents:\n", session(), "event lines").has_form


@pytest.mark.parametrize(
    ("repository", "prompt"),
    [
        (
            "TimeLens-8B",
            "Please find the visual event described by the sentence 'a dog runs', determining its starting and ending times. The "
            "format should be: 'The event happens in <start time> - <end time> seconds'.",
        ),
        (
            "TimeLens2-4B",
            'You are given a video. Task: temporal retrieval. Given the query: "a dog runs", return ALL time spans (in seconds) '
            "where the query is relevant. Output format MUST be a JSON array of [start, end] pairs, e.g. [[0, 3.5], [10, 12]].",
        ),
        (
            "Marlin-2B",
            'Identify the timestamps during which "a dog runs" takes place. Output the time range as "From <start> to <end>." '
            "(numbers in seconds).",
        ),
    ],
)
def test_fine_tuned_checkpoint_gets_the_wording_that_it_was_trained_on(repository: str, prompt: str, tmp_path: Path) -> None:
    for folder, base in ((tmp_path / repository, "qwen3_vl"), (tmp_path / repository / "Qwen3-VL-8B", "qwen3_vl")):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": base, "vision_config": {}}))
        (folder / "model.safetensors").write_bytes(b"1")
    profile = find_checkpoint(str(tmp_path / repository)).profile
    late = FakeSession(Span(7200.0, 7260.0), 7200.0)
    assert profile.prompts.locate(late, "a dog runs.") == prompt and not profile.takes_words
    assert profile == read_named_profile(repository.partition("-")[0].lower())
    # The name of a folder around a checkpoint is not its name.
    assert find_checkpoint(str(tmp_path / repository / "Qwen3-VL-8B")).profile == read_named_profile("qwen3-vl")
