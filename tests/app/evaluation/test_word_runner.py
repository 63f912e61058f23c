"""The words suite: a short recording with and without words through the application, and the error without a speech model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longview.app.evaluation import word_runner
from longview.app.evaluation.report import write
from longview.app.evaluation.sounds import mix, music, silence, write_wav
from longview.app.evaluation.word_material import questions, read_sound, recordings
from longview.app.evaluation.word_runner import WordEvaluation
from longview.app.service import Longview
from longview.core.progress import Progress
from longview.video.decoding.audio import RATE_HZ
from tests.support.app_samples import demo_settings
from tests.support.shell import Shell
from tests.support.speech_samples import needs_speech_model

PIECE_S = 8.8
"""End of the second sentence of the English recording, and a part of the pause after it, in seconds."""


@needs_speech_model
def test_words_and_times_of_ten_seconds_are_right(tmp_path: Path) -> None:
    app = Longview(demo_settings(tmp_path / "library"))
    evaluation = WordEvaluation(app, tmp_path)
    english = recordings()[0]
    path = write_wav(tmp_path / "piece.wav", read_sound(app.parts.decoder, english.path)[: round(PIECE_S * RATE_HZ)])
    words = tuple(word for word in english.words if word.end_s is not None and word.end_s < PIECE_S)
    scores = evaluation.evaluate_recording(replace(english, path=path, duration_s=PIECE_S, words=words), "piece", Progress())
    figures = evaluation.recognition["piece"]
    assert figures["words"] == scores.words == 23 and figures["language"] == "en"
    assert figures["word_error_rate"] <= 0.2
    assert figures["start_median_s"] <= 0.25
    # The report has no chart.
    paths = write(tmp_path / "out", "words", {"suite": "words", "checkpoint": "c", "device": "cpu", **evaluation.report()})
    assert [path.suffix for path in paths] == [".json", ".md"]
    assert "| piece | 23 |" in paths[1].read_text()


@pytest.mark.parametrize("step", [pytest.param(1, id="all", marks=pytest.mark.slow), pytest.param(4, id="every fourth question")])
def test_questions_are_found_in_all_transcripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    asked = questions()[::step]
    monkeypatch.setattr(word_runner, "questions", lambda: asked)
    evaluation = WordEvaluation(Longview(demo_settings(tmp_path / "library")), tmp_path)
    evaluation.evaluate_search(Progress())
    figures = evaluation.search["all"]
    assert figures["questions"] == sum(question.kind == "paraphrase" for question in asked)
    assert figures["R@1"] <= figures["R@5"] <= figures["R@10"]
    assert len(evaluation.missed) == round((1 - figures["R@10"]) * figures["questions"])
    assert figures["R@5"] >= 0.2
    evaluation.evaluate_answers(Progress())
    plain, absent = evaluation.answers["plain"], evaluation.answers["absent"]
    assert plain["questions"] + absent["questions"] == sum(question.kind != "paraphrase" for question in asked)
    assert plain["right among 3"] >= 0.7
    assert absent["refused"] > plain["refused"]


def test_background_has_the_requested_level_below_the_speech() -> None:
    rng = np.random.default_rng(0)
    speech = np.concatenate([0.1 * rng.standard_normal(RATE_HZ).astype(np.float32), silence(3.0)])
    background = music(4.0)
    added = mix(speech, background, -10.0) - speech
    ratio = np.mean(added**2) / np.mean(speech[:RATE_HZ] ** 2)
    # Pauses are not speech: with them, the level would be 6 dB too low.
    assert 10 * np.log10(ratio) == pytest.approx(-10.0, abs=1.0)


def test_without_a_speech_model_the_error_says_what_to_install(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "library")
    words = ("eval", "words", "-o", str(tmp_path / "out"), "--json")
    error = json.loads(shell.run(*words, code=1, LONGVIEW_SPEECH_MODEL="no-such-model").stdout)["error"]
    assert error["code"] == "bad_request" and "`eval words` recognises speech" in error["message"]
    assert not (tmp_path / "out").exists()
