"""Questions have true answers, in seconds and as H:MM:SS."""

import json
import random
import re

from longview.model.training.questions import KIND_SHARES, PROMPTS, sample_conversation, sample_turn
from tests.support.toy_training import SCENE, sample_scenes


def test_answers_are_true() -> None:
    rng = random.Random(0)
    dense = sample_turn(rng, SCENE, "dense", "seconds")
    assert dense.question == PROMPTS.dense_captions
    assert json.loads(dense.answer) == [
        {"start": 100.5, "end": 104.5, "description": "A red circle moves up."},
        {"start": 108.5, "end": 114.5, "description": "An orange star grows."},
    ]
    assert json.loads(sample_turn(rng, SCENE, "dense", "hms").answer)[0]["start"] == "0:01:40.5"
    assert sample_turn(rng, SCENE, "count", "seconds").answer == "2."
    star = "An orange star grows."
    for _ in range(30):
        when, after, at = (sample_turn(rng, SCENE, kind, "seconds") for kind in ("when", "after", "at"))
        assert when.answer == ("From 100.5 to 104.5 seconds." if "red" in when.question else "From 108.5 to 114.5 seconds.")
        assert after.answer == (star if "red" in after.question else "Nothing happens after that.")
        time_s = float(re.findall(r"[\d.]+", at.question)[0])
        assert at.answer == (
            "A red circle moves up." if time_s < 106 else "Nothing happens at that time." if time_s < 107 else star
        )
        localize = sample_turn(rng, SCENE, "localize", "seconds")
        assert localize.question == PROMPTS.localization.format(query=re.findall(r'query "(.*?)"', localize.question)[0])
        starts = {SCENE.timestamps_s.index(entry["start"]) for entry in json.loads(localize.answer)}
        assert localize.about is not None and starts == {first for first, _ in localize.about}


def test_localisation_queries_match_none_one_or_several_events() -> None:
    turns = [sample_turn(random.Random(i), scene, "localize", "seconds") for i, scene in enumerate(sample_scenes(400))]
    counts = [len(json.loads(turn.answer)) for turn in turns]
    assert 0.15 < counts.count(0) / 400 < 0.35
    assert sum(count > 1 for count in counts) > 40


def test_some_questions_and_answers_use_clock_times() -> None:
    turns = [turn for seed, scene in enumerate(sample_scenes()) for turn in sample_conversation(random.Random(seed), scene, 4)]
    timed = [turn for turn in turns if turn.kind in ("dense", "localize", "when", "at")]
    clock = re.compile(r"\d:\d\d:\d\d\.\d")
    has_clock = [bool(clock.search(turn.question + turn.answer)) for turn in timed if turn.answer != "[]"]
    assert 0.1 < sum(has_clock) / len(has_clock) < 0.3
    assert any(turn.kind == "at" and clock.search(turn.question) for turn in timed)
    assert any(turn.kind == "when" and clock.search(turn.answer) for turn in timed)
    for turn in timed:
        if turn.kind in ("dense", "localize") and turn.answer != "[]":
            assert bool(clock.search(turn.answer)) == ("H:MM:SS" in turn.question)
    assert {turn.kind for turn in turns} == set(KIND_SHARES)
