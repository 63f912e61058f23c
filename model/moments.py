"""What happens at a moment? The question that a checkpoint with question forms answers most truly, asked where others may err.

A list of events or the ends of one can be got wrong; of single moments, beside the events that it told worst, the bundled
checkpoint said what is there at 521 of 534 (docs/quality.md).
"""

import itertools
from collections.abc import Sequence

from model.checkpoints import Checkpoint
from model.engine import VideoSession
from model.looking import told_at, where
from model.sessions import Tick
from model.verifier import fits, sentences
from video.timeline import Event, Span, without

PROBED = 2
"""Every second patch is asked about first, and those between two that differ after that."""
BRIDGED = 1
"""So many patches without it do not end a stretch: a single reply may be wrong."""
QUIET_S = 3.0
"""Where nothing is told for that long, or longer, it is asked in the middle of every such stretch what happens there."""


def stretches(session: VideoSession, text: str, around: Span, forms: tuple[str, ...], *, tick: Tick) -> list[Span]:
    """Where a session sees what `text` says, by asking moment by moment, in order of time, on the video's clock.

    The moment nearest to the middle of `around` is asked about in any case; elsewhere a stretch of a single patch may be passed
    over. A text of several sentences is there where all of them are.
    """
    claims = sentences(text)
    patches = session.patches
    seen: dict[int, bool] = {}

    def ask(index: int) -> None:
        if index not in seen:
            told = told_at(session, patches[index].marker_s, forms, tick=tick)
            seen[index] = all(fits(claim, told) for claim in claims)

    middle_s = (around.start_s + around.end_s) / 2
    nearest = min(range(len(patches)), key=lambda index: abs(patches[index].first_s - middle_s))
    for index in sorted({*range(0, len(patches), PROBED), nearest, len(patches) - 1}):
        ask(index)
    for before, after in itertools.pairwise(sorted(seen)):
        if seen[before] != seen[after]:
            for index in range(before + 1, after):
                ask(index)
        else:
            seen |= dict.fromkeys(range(before + 1, after), seen[before])
    found: list[list[int]] = []
    for index in sorted(index for index, is_there in seen.items() if is_there):
        if found and index - found[-1][1] <= BRIDGED + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    ends_s = [*(patch.first_s for patch in patches[1:]), session.window.end_s]
    return [Span(patches[first].first_s, ends_s[last]) for first, last in found]


def untold(session: VideoSession, events: Sequence[Event], checkpoint: Checkpoint, *, tick: Tick) -> list[Event]:
    """What happens in a window where nothing is told, by asking there what happens, and when that does."""
    found: list[Event] = []
    for quiet in without(session.window, [event.span for event in events]):
        parts = int(quiet.duration_s // QUIET_S)
        for part in range(parts):
            moment_s = quiet.start_s + quiet.duration_s * (part + 0.5) / parts
            if any(event.span.contains(moment_s) for event in found):
                continue
            patch = min(session.patches, key=lambda patch: abs((patch.first_s + patch.last_s) / 2 - moment_s))
            told = told_at(session, patch.marker_s, checkpoint.question_forms, tick=tick)
            for sentence in sentences(told):
                text = f"{sentence}."
                if text in checkpoint.nothing_replies:
                    continue
                # Of two questions that both may be answered wrongly, both must agree.
                spans, _ = where(session, text, tick=tick)
                found += [Event(span, text) for span in spans if span.contains(moment_s)]
    return found
