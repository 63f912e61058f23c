"""What happens at a moment? The question that a checkpoint with question forms answers most truly, asked where others may err.

A list of events or the ends of one can be got wrong; of single moments, beside the events that it told worst, the bundled
checkpoint said what is there at 521 of 534 (docs/quality.md).
"""

import itertools
from collections.abc import Sequence

from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints import Checkpoint
from longview.model.engine.sessions import Tick
from longview.model.tasks.grounding import describe_at, ground
from longview.model.tasks.text_match import contains_query, sentences
from longview.video.timeline import Event, Span, subtract_spans

PROBE_STRIDE = 2
"""Every second patch is asked about first, and those between two that differ after that."""
MAX_GAP_PATCHES = 1
"""So many patches without it do not end a stretch: a single reply may be wrong."""
MIN_SILENT_S = 3.0
"""Where nothing is told for that long, or longer, it is asked in the middle of every such stretch what happens there."""


def probe_spans(session: VideoSession, text: str, around: Span, templates: tuple[str, ...], *, tick: Tick) -> list[Span]:
    """Where a session sees what `text` says, by asking moment by moment, in order of time, on the video's clock.

    The moment nearest to the middle of `around` is asked about in any case; elsewhere a stretch of a single patch may be passed
    over. A text of several sentences is there where all of them are.
    """
    claims = sentences(text)
    patches = session.patches
    seen: dict[int, bool] = {}

    def ask(index: int) -> None:
        if index not in seen:
            told = describe_at(session, patches[index].timestamp_s, templates, tick=tick)
            seen[index] = all(contains_query(claim, told) for claim in claims)

    middle_s = (around.start_s + around.end_s) / 2
    nearest = min(range(len(patches)), key=lambda index: abs(patches[index].first_frame_s - middle_s))
    for index in sorted({*range(0, len(patches), PROBE_STRIDE), nearest, len(patches) - 1}):
        ask(index)
    for before, after in itertools.pairwise(sorted(seen)):
        if seen[before] != seen[after]:
            for index in range(before + 1, after):
                ask(index)
        else:
            seen |= dict.fromkeys(range(before + 1, after), seen[before])
    found: list[list[int]] = []
    for index in sorted(index for index, is_there in seen.items() if is_there):
        if found and index - found[-1][1] <= MAX_GAP_PATCHES + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    ends_s = [*(patch.first_frame_s for patch in patches[1:]), session.window.end_s]
    return [Span(patches[first].first_frame_s, ends_s[last]) for first, last in found]


def find_missed_events(session: VideoSession, events: Sequence[Event], checkpoint: Checkpoint, *, tick: Tick) -> list[Event]:
    """What happens in a window where nothing is told, by asking there what happens, and when that does."""
    found: list[Event] = []
    for quiet in subtract_spans(session.window, [event.span for event in events]):
        parts = int(quiet.duration_s // MIN_SILENT_S)
        for part in range(parts):
            moment_s = quiet.start_s + quiet.duration_s * (part + 0.5) / parts
            if any(event.span.contains(moment_s) for event in found):
                continue
            patch = min(session.patches, key=lambda patch: abs((patch.first_frame_s + patch.last_frame_s) / 2 - moment_s))
            told = describe_at(session, patch.timestamp_s, checkpoint.question_templates, tick=tick)
            for sentence in sentences(told):
                text = f"{sentence}."
                if text in checkpoint.no_event_replies:
                    continue
                # Of two questions that both may be answered wrongly, both must agree.
                spans, _ = ground(session, text, tick=tick)
                found += [Event(span, text) for span in spans if span.contains(moment_s)]
    return found
