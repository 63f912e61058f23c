"""Selection of the checks: the one place where settings and the checkpoint's verifier enable or disable them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longview.app.settings import Settings
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions

if TYPE_CHECKING:
    from longview.model.tasks.verifier import Verifier


@dataclass(frozen=True)
class Checks:
    """The checks of every task. Each check sends further questions to the checkpoint, and takes time."""

    captions: CaptionOptions
    localization: LocateOptions
    answers: AnswerOptions
    search: bool | None
    """Whether search results are verified; None: those whose video is warm, or whose verification takes little time."""


def decide_checks(settings: Settings, verifier: "Verifier") -> Checks:
    """Return the checks that the settings enable. The default of a setting without a value depends on the verifier."""
    by_default = verifier.needs_caption_checks
    captions = CaptionOptions(
        verify=by_default if settings.index_verify is None else settings.index_verify,
        refine=by_default if settings.index_refine is None else settings.index_refine,
    )
    localization = LocateOptions(verify=settings.locate_verify, refine=settings.locate_refine)
    search = True if settings.search_verify is None and by_default else settings.search_verify
    answers = AnswerOptions(settings.ask_verify, captions, localization, settings.thinking)
    return Checks(captions, localization, answers, search)
