"""Verifiers: the second question with which a checkpoint verifies a claim about a session (`Verifier`).

A checkpoint that is asked where an event occurs tends to report one. A differently worded question does not suggest an answer.
The wording depends on the checkpoint. A checkpoint that answers any question is asked for a yes or a no.
"""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span
from longview.model.engine.base import VideoSession
from longview.model.tasks.text_match import contains_query

MAX_CONFIRM_TOKENS = 256
MAX_PREAMBLE_CHARACTERS = 80
"""Maximum length of a reply without a yes or a no, after which generation ends."""
_THINKING = re.compile(r"^\s*+<think>(?!.*</think>).*|^.*</think>", re.DOTALL)
"""Thoughts before a reply. They may still be unfinished."""
_YES_OR_NO = re.compile(
    r"\A\W*+(?:yes or no\b\W*+)?(?:(?:the\s++|my\s++)?answer\b(?:\s++to\s++(?:the|this|that|your)\s++question)?\W*+(?:is\W++)?)?"
    r"(?P<word>yes|no)\b(?!\s++or\s++no\b)",
    re.IGNORECASE,
)
_UNFINISHED_WORD = re.compile(r"\w$")


class QuestionTemplates(Protocol):
    """The only questions that a checkpoint can answer."""

    def match(self, question: str) -> str | None:
        """Return the question in the wording of the first template that matches it; None if none matches."""
        ...

    def at_timestamp(self, timestamp_s: float) -> str | None:
        """Return the question about what happens at a timestamp; None without a template for it."""
        ...

    def supported_questions(self) -> str:
        """Return a sentence for users that names the questions which can be answered."""
        ...


class TimestampVerifier(Protocol):
    """Verifies a claim at single timestamps: it asks a session what happens at each."""

    def find_spans(self, session: VideoSession, text: str, around: Span, *, progress: Progress = NO_PROGRESS) -> list[Span]:
        """Return the spans in which the session sees what `text` describes, in order, on the video's clock.

        The temporal patch nearest to the middle of `around` is always asked about.
        """
        ...

    def find_missed_events(
        self, session: VideoSession, events: Sequence[Event], *, progress: Progress = NO_PROGRESS
    ) -> list[Event]:
        """Return events in the parts of the window that no event of `events` covers."""
        ...


class Verifier(Protocol):
    """The further questions that one checkpoint can answer about a session."""

    templates: QuestionTemplates | None
    """None: the checkpoint answers any question."""
    timestamps: TimestampVerifier | None
    """None: the checkpoint is not asked about single timestamps."""
    needs_caption_checks: bool
    """Whether captions are verified and refined by default. This takes more time than captioning."""
    max_verification_replies: int
    """Maximum number of replies for the verification of one claim in one session."""
    needs_clips: bool
    """Whether a claim is verified in a short clip even if a session of a longer window is warm."""

    def verify(
        self,
        session: VideoSession,
        span: Span,
        claim: str,
        *,
        progress: Progress = NO_PROGRESS,
        matches: Callable[[str, str], bool] = contains_query,
    ) -> bool | None:
        """Whether a session that shows the span, or a part of it, confirms that the claim is true there.

        None: the reply says neither yes nor no. `matches(claim, description)` compares the claim with a description that the
        checkpoint gives, where it gives one.
        """
        ...


class FreeFormVerifier:
    """The verifier of a checkpoint that answers any question. It asks for a yes or a no."""

    templates: QuestionTemplates | None = None
    timestamps: TimestampVerifier | None = None
    needs_caption_checks = False
    max_verification_replies = 1
    needs_clips = False

    def verify(
        self,
        session: VideoSession,
        span: Span,
        claim: str,
        *,
        progress: Progress = NO_PROGRESS,
        matches: Callable[[str, str], bool] = contains_query,  # noqa: ARG002 (a yes needs no comparison)
    ) -> bool | None:
        """See `Verifier`. Generation ends with the first word that decides, once it is known that all frames were read.

        A checkpoint that was trained to locate only confirms and denies nothing.
        """
        if not session.checkpoint.profile.capabilities.answers:
            return None
        prompt = session.checkpoint.profile.prompts.confirm(session, claim, span)
        generation = session.generate(prompt, max_new_tokens=MAX_CONFIRM_TOKENS, progress=progress)
        for _ in generation:
            # The next piece may belong to the same word: "No" and "Nobody".
            if _UNFINISHED_WORD.search(generation.text):
                continue
            reply = _THINKING.sub("", generation.text)
            is_decided = parse_yes_or_no(reply) is not None or len(reply) > MAX_PREAMBLE_CHARACTERS
            # A server that has cut the prompt says so with the last token. A no would then be about frames that nothing has seen.
            if is_decided and generation.has_read_prompt:
                break
        return parse_yes_or_no(generation.text)


def parse_yes_or_no(reply: str) -> bool | None:
    """Return whether a reply begins with yes (True) or no (False); None if it begins with neither."""
    match = _YES_OR_NO.match(_THINKING.sub("", reply))
    return match["word"].lower() == "yes" if match else None
