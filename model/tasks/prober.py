"""How a checkpoint is asked for a second opinion about what a session shows.

A checkpoint that is asked where an event occurs tends to report one. Asked in another way, it has no reason to. Which other way
there is depends on the checkpoint: one that answers any question is asked for a yes; what the demo checkpoint needs lies in
`longview.model.demo.probing`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from longview.model.engine.base import Generation, VideoSession
from longview.model.engine.planner import Tick
from longview.model.tasks.prompts import confirm_prompt
from longview.model.tasks.text_match import contains_query
from longview.video.timeline import Event, Span

MAX_CONFIRM_TOKENS = 256


class QuestionTemplates(Protocol):
    """The only questions that a checkpoint can answer."""

    def match(self, question: str) -> str | None:
        """Return the question in the wording of the first template that fits it; None if none fits."""
        ...

    def at_timestamp(self, timestamp_s: float) -> str | None:
        """Return the question about what happens at a timestamp; None if no template asks that."""
        ...

    def supported_questions(self) -> str:
        """Return a sentence for users that names the questions which can be answered."""
        ...


class TimestampProber(Protocol):
    """Asks a session what happens at single timestamps."""

    def probe_spans(self, session: VideoSession, text: str, around: Span, *, tick: Tick) -> list[Span]:
        """Return the spans, in order, in which the session sees what `text` says, on the video's clock.

        The temporal patch nearest to the middle of `around` is always probed.
        """
        ...

    def find_missed_events(self, session: VideoSession, events: Sequence[Event], *, tick: Tick) -> list[Event]:
        """Return events in the parts of the window that no event of `events` covers."""
        ...


class Prober(Protocol):
    """The ways in which one checkpoint can be asked again."""

    templates: QuestionTemplates | None
    """None: the checkpoint answers any question."""
    timestamps: TimestampProber | None
    """None: the checkpoint is not asked about single timestamps."""

    def confirm(
        self,
        session: VideoSession,
        span: Span,
        claim: str,
        *,
        tick: Tick,
        matches: Callable[[str, str], bool] = contains_query,
    ) -> bool:
        """Whether a session that shows the span, or a part of it, confirms that the claim is true there.

        `matches(claim, description)` compares the claim with a description that the checkpoint gives, where it gives one.
        """
        ...


class FreeFormProber:
    """The prober of a checkpoint that answers any question: it is asked for a yes or a no."""

    templates: QuestionTemplates | None = None
    timestamps: TimestampProber | None = None

    def confirm(
        self,
        session: VideoSession,
        span: Span,
        claim: str,
        *,
        tick: Tick,
        matches: Callable[[str, str], bool] = contains_query,  # noqa: ARG002 (a yes needs no comparison)
    ) -> bool:
        """See `Prober`."""
        local = span.clamped(session.window).shifted(-session.clock_offset_s)
        return _says_yes(session.generate(confirm_prompt(claim, local), max_new_tokens=MAX_CONFIRM_TOKENS), tick)


def _says_yes(generation: Generation, tick: Tick) -> bool:
    """Whether a reply begins with yes. Generation ends with its first word."""
    for _ in generation:
        tick()
        if word := re.match(r"\W*(\w+)\W", generation.text):
            return word[1].lower() == "yes"
    return generation.text.strip("\"'* .!").lower() == "yes"
