"""Small random checkpoints of the classes of the fine-tuned ones: the prompt that they get, and how odd replies are read."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longview.core.timeline import Span
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.tasks.grounding import ground
from tests.model.engine.execution.test_prefill import open_session, random_frames
from tests.model.tasks.test_reply_forms import FROM_TO, NO_FORM, PAIRS, SENTENCES
from tests.support.random_checkpoints import save_random_checkpoint

CHECKPOINTS = {
    "TimeLens-8B": ("dense", SENTENCES, "by the sentence 'a dog runs', determining"),
    "TimeLens2-4B": ("tied", PAIRS, 'Given the query: "a dog runs", return ALL time spans'),
    "Marlin-2B": ("hybrid", FROM_TO, 'during which "a dog runs" takes place.'),
}
"""Layout, odd replies, and a part of the prompt, by the name of the checkpoint."""


@pytest.fixture(params=CHECKPOINTS)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> LocalSession:
    folder = tmp_path / request.param
    save_random_checkpoint(folder, CHECKPOINTS[request.param][0])
    engine = LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1)
    return open_session(engine, [random_frames(24, 64, 96)])


def test_prompt_is_that_of_the_training_and_odd_replies_are_read(session: LocalSession, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = session.engine.processor.tokenizer
    _, replies, part = CHECKPOINTS[Path(session.checkpoint.name).name]
    prompts: list[str] = []
    reply = ""

    def scripted_tokens(session: LocalSession, question: str, *_: Any) -> Iterator[int]:
        prompts.append(tokenizer.decode(session.prefix_ids[0]) + tokenizer.decode(session.engine.question_ids(question)[0]))
        return itertools.chain(tokenizer.encode(reply, add_special_tokens=False), session.engine.end_tokens)

    # Random weights say nothing: the tokens of the replies are given, and all else is as with real ones.
    monkeypatch.setattr(LocalSession, "tokens", scripted_tokens)
    for reply in replies:
        spans, is_readable = ground(session, "a dog runs")
        assert is_readable and len(spans) == 1 and spans[0].iou(Span(3.2, 5.2)) > 0.5, reply
    for reply in NO_FORM:
        assert ground(session, "a dog runs") == ([], False), reply
    (prompt,) = set(prompts)
    assert part in prompt and "seconds>" in prompt.partition(part)[0]
    # Neither the duration nor the words of the video, on which they were not trained.
    assert "lasts" not in prompt and "<words>" not in prompt
