"""Options of an index run, and of the plan for one."""

from dataclasses import dataclass

from longview.app.errors import BadRequest
from longview.video.language_tags import language_code

CODE_LETTERS = 2
"""Length of the codes of ISO 639-1, in letters."""


@dataclass(frozen=True)
class IndexOptions:
    """What is indexed of a file, and how."""

    start_s: float | None = None
    end_s: float | None = None
    sources: tuple[str, ...] | None = None
    """The only sources that are run; None: all that apply to the video."""
    context_tokens: int | None = None
    title: str | None = None
    keep_sessions: bool = True
    """Whether the sessions stay in memory for later questions, as far as the pool has room."""
    accepts_long: bool = False
    """Whether captions are made even if they take long; see `longview.app.ingest.sources.captions.MAX_UNASKED_S`."""


@dataclass(frozen=True)
class PlanOptions:
    """What is planned of a file: an index run and the session for questions, as a whole or of a part."""

    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    """Frames per second for questions; None: the rate that the checkpoint prefers, as far as they fit."""
    max_frames: int | None = None
    """Maximum number of frames for questions."""
    context_tokens: int | None = None


def require_language(tag: str, use: str) -> None:
    """Check that a text may be a language tag, such as `en`, `pt-BR` or `zh-Hant`. `use`: what is in the language.

    Raises:
        BadRequest: it is none.
    """
    beginning = tag.replace("_", "-").partition("-")[0]
    # Speech models have codes of their own, such as `jw`.
    if language_code(tag) is None and not (len(beginning) == CODE_LETTERS and beginning.isascii() and beginning.isalpha()):
        raise BadRequest(f"{tag!r} is not the code of a language; use one such as en, ko or pt-BR for {use}.")
