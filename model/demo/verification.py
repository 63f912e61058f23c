"""The verifier of a checkpoint with question templates. It asks what happens at single timestamps.

Such a checkpoint can misreport the events of a window or their boundaries. At single timestamps beside the events that it got
most wrong, the bundled checkpoint described 521 of 534 correctly (docs/quality.md).
"""

import itertools
from collections.abc import Callable, Sequence

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span, subtract_spans
from longview.model.demo.templates import Templates
from longview.model.engine.base import VideoSession
from longview.model.tasks.grounding import MAX_GROUNDING_TOKENS, ground
from longview.model.tasks.text_match import contains_query, sentences
from longview.model.tasks.verifier import QuestionTemplates, TimestampVerifier

CHECKED_FRACTIONS = (0.5, 0.25, 0.75)
"""Positions in a span that are asked about to confirm a claim, as fractions of it; one confirmation is enough."""
CHECKED_PATCH_STRIDE = 2
"""Every second temporal patch is asked about first; then the patches between two that differ."""
MAX_GAP_PATCHES = 1
"""Maximum number of temporal patches without the event inside one span, because a single reply may be wrong."""
MIN_SILENT_S = 3.0
"""Minimum length of a part without captions that is searched for missed events, in seconds; longer parts are asked about once
for each such length."""


class TemplateVerifier:
    """See `longview.model.tasks.verifier.Verifier` and `TimestampVerifier`."""

    def __init__(self, templates: tuple[str, ...], no_event_replies: tuple[str, ...]) -> None:
        """`templates`, `no_event_replies`: see `longview.model.engine.checkpoints.checkpoints.Checkpoint`."""
        self.templates: QuestionTemplates | None = Templates(templates)
        self._templates = Templates(templates)
        self._no_event_replies = no_event_replies
        self.needs_caption_checks = True
        self.max_verification_replies = len(CHECKED_FRACTIONS)
        self.needs_clips = True
        self.timestamps: TimestampVerifier | None = self if self._templates.at_timestamp(0.0) else None

    def verify(
        self,
        session: VideoSession,
        span: Span,
        claim: str,
        *,
        progress: Progress = NO_PROGRESS,
        matches: Callable[[str, str], bool] = contains_query,
    ) -> bool | None:
        """See `Verifier`. Without a template about timestamps, no other question can be asked."""
        if self.timestamps is None:
            return None
        inside = [patch.timestamp_s for patch in session.patches if span.contains((patch.first_frame_s + patch.last_frame_s) / 2)]
        checked_timestamps = dict.fromkeys(inside[int(fraction * len(inside))] for fraction in CHECKED_FRACTIONS if inside)
        return any(matches(claim, self._describe_at(session, timestamp_s, progress)) for timestamp_s in checked_timestamps)

    def find_spans(self, session: VideoSession, text: str, around: Span, *, progress: Progress = NO_PROGRESS) -> list[Span]:
        """See `TimestampVerifier`. A span of a single temporal patch may be missed. All sentences of `text` must be confirmed."""
        claims = sentences(text)
        patches = session.patches
        is_present: dict[int, bool] = {}

        def ask(index: int) -> None:
            if index not in is_present:
                description = self._describe_at(session, patches[index].timestamp_s, progress)
                is_present[index] = all(contains_query(claim, description) for claim in claims)

        middle_s = (around.start_s + around.end_s) / 2
        nearest = min(range(len(patches)), key=lambda index: abs(patches[index].first_frame_s - middle_s))
        for index in sorted({*range(0, len(patches), CHECKED_PATCH_STRIDE), nearest, len(patches) - 1}):
            ask(index)
        for before, after in itertools.pairwise(sorted(is_present)):
            if is_present[before] != is_present[after]:
                for index in range(before + 1, after):
                    ask(index)
            else:
                is_present |= dict.fromkeys(range(before + 1, after), is_present[before])
        runs: list[list[int]] = []
        for index in sorted(index for index, is_confirmed in is_present.items() if is_confirmed):
            if runs and index - runs[-1][1] <= MAX_GAP_PATCHES + 1:
                runs[-1][1] = index
            else:
                runs.append([index, index])
        ends_s = [*(patch.first_frame_s for patch in patches[1:]), session.window.end_s]
        return [Span(patches[first].first_frame_s, ends_s[last]) for first, last in runs]

    def find_missed_events(
        self, session: VideoSession, events: Sequence[Event], *, progress: Progress = NO_PROGRESS
    ) -> list[Event]:
        """See `TimestampVerifier`. An event that a reply reports is kept if the session also grounds it at that time."""
        missed_events: list[Event] = []
        for silent in subtract_spans(session.window, [event.span for event in events]):
            parts = int(silent.duration_s // MIN_SILENT_S)
            for part in range(parts):
                asked_s = silent.start_s + silent.duration_s * (part + 0.5) / parts
                if any(event.span.contains(asked_s) for event in missed_events):
                    continue
                patch = min(session.patches, key=lambda patch: abs((patch.first_frame_s + patch.last_frame_s) / 2 - asked_s))
                for sentence in sentences(self._describe_at(session, patch.timestamp_s, progress)):
                    text = f"{sentence}."
                    if text in self._no_event_replies:
                        continue
                    # Either reply may be wrong, so both must agree.
                    spans, _ = ground(session, text, progress=progress)
                    missed_events += [Event(span, text) for span in spans if span.contains(asked_s)]
        return missed_events

    def _describe_at(self, session: VideoSession, timestamp_s: float, progress: Progress) -> str:
        """Return the session's description of what happens at one of its timestamps, on the session's clock."""
        question = self._templates.at_timestamp(timestamp_s)
        assert question is not None
        generation = session.generate(question, max_new_tokens=MAX_GROUNDING_TOKENS, progress=progress)
        for _ in generation:
            pass
        return generation.text
