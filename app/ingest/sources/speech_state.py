"""The state of an unfinished speech recognition, from which it resumes so that it ends like one that was not interrupted."""

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from longview.indexing.records.track import Track

if TYPE_CHECKING:
    from longview.model.speech.recognizer import Language
    from longview.model.speech.transcriber import TranscribedChunk

SECTION_S = 600.0
"""Minimum length of a section of sound, in seconds. The detector of speech has a state, and decoders and resamplers have one, so
that recognition which begins in the middle of a section may find other words there. An interrupted run decodes the section again,
which takes a second, and recognises what is left of it."""


@dataclass(frozen=True)
class SpeechState:
    """What the next chunk depends on, beside its sound."""

    section_start_s: float
    """Time at which the decoding of the current section began, in seconds."""
    language: str = ""
    """Language of the last chunk with words; empty before the first."""
    probability: float = 0.0
    """Probability of that language."""
    speech_s: float = 0.0
    """Speech so far, in seconds."""
    sure_s: float = 0.0
    """Speech so far, weighted with the probability of its language, in seconds."""

    @property
    def expected(self) -> "Language | None":
        """The language so far."""
        from longview.model.speech.recognizer import Language

        return Language(self.language, self.probability) if self.language else None

    @property
    def mean_probability(self) -> float | None:
        """Mean probability of the languages; None without speech."""
        return self.sure_s / self.speech_s if self.speech_s else None

    def after(self, chunk: "TranscribedChunk") -> "SpeechState":
        """Return the state after a chunk. The next section begins where a chunk ends."""
        is_section_over = chunk.done_s - self.section_start_s >= SECTION_S
        return SpeechState(
            chunk.done_s if is_section_over else self.section_start_s,
            chunk.language.code,
            chunk.language.probability,
            self.speech_s + chunk.duration_s,
            self.sure_s + chunk.duration_s * chunk.language.probability,
        )

    def fields(self) -> dict[str, Any]:
        """Return the state as a track keeps it."""
        return asdict(self)


def state_of(track: Track) -> SpeechState:
    """Return the state of an unfinished track.

    Without one, as in libraries of earlier versions, or with one that does not fit, a section begins where the track has come to.
    """
    unknown = SpeechState(track.done_s, track.language or "", 1.0)
    names = unknown.fields().keys()
    if track.state.keys() != names or not isinstance(track.state["language"], str):
        return unknown
    numbers = [track.state[name] for name in names if name != "language"]
    if not all(isinstance(number, int | float) and math.isfinite(number) and number >= 0 for number in numbers):
        return unknown
    state = replace(unknown, **track.state)
    return state if track.span.start_s <= state.section_start_s <= track.done_s else unknown
