"""A reply is traced to the lines of the words that it names or quotes, and to no others."""

import pytest

from longview.core.timeline import Segment, Span
from longview.model.engine.checkpoints.profiles import find_profile
from longview.model.tasks.transcript_context import fit_transcript
from longview.model.tasks.word_citations import find_evidence, with_units
from longview.video.sampling_plan import Window

BUDGET = Segment(Span(12.5, 15.0), "We will cut the training budget by a third.", "speech")
REASON = Segment(Span(15.0, 18.2), "The board asked for it in April.", "speech")
SLIDE = Segment(Span(13.0, 60.0), "Quarterly review", "screen_text")
CHINESE = Segment(Span(30.0, 34.0), "我们将把培训预算削减三分之一", "speech")
THANKS = Segment(Span(70.0, 72.0), "Thank you all.", "speech")
LINES = fit_transcript(
    [BUDGET, REASON, SLIDE, CHINESE, THANKS],
    Window(Span(0.0, 90.0), (0.0,), 0.5),
    find_profile().prompts,
    max_tokens=10_000,
    count_tokens=len,
).lines  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "cited", "frame_times"),
    [
        # By the times of the line, in the forms that replies have.
        ("From 12.5 to 15.0 seconds she announces a cut.", [BUDGET], 0),
        ("She announces a cut [12.5 - 15.0 seconds].", [BUDGET], 0),
        ("She announces a cut [12.5 - 15.0].", [BUDGET], 0),
        ("The title stands there from 13.0 to 60.0 seconds.", [SLIDE], 0),
        # Two successive lines.
        ("Between 12.5 and 18.2 seconds she explains the cut.", [BUDGET, REASON], 0),
        # The start alone needs a common word: a frame may have this timestamp by chance.
        ("At 12.5 seconds she speaks of training.", [BUDGET], 0),
        ("At 30.0 seconds 他谈到预算。", [CHINESE], 0),
        ("At 12.5 seconds a dog runs away.", [], 1),
        # By its words.
        ('She says that they "will cut the training budget".', [BUDGET], 0),
        ("字幕说: 我们将把培训预算削减三分之一。", [CHINESE], 0),
        ('At 0:13 she says "we will cut the training budget by a third".', [BUDGET], 0),
        # What the frames show stays a time of the frames.
        ("A man enters from 2.0 to 7.0 seconds. The board asked for it in April, she says.", [REASON], 1),
        ("Thank you all for watching the budget.", [], 0),
        ("From 12.5 to 80.0 seconds a woman talks.", [], 1),
    ],
)
def test_reply_is_traced_to_its_lines(reply: str, cited: list[Segment], frame_times: int) -> None:
    evidence = find_evidence(with_units(reply), LINES)
    assert [line.segment for line in evidence.lines] == cited
    assert len(evidence.frame_times) == frame_times


def test_reply_to_a_prompt_without_words_has_only_times_of_frames() -> None:
    evidence = find_evidence("From 12.5 to 15.0 seconds she announces a cut.", ())
    assert evidence.lines == () and len(evidence.frame_times) == 1
