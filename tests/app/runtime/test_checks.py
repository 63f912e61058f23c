"""Which checks are on, for the demo checkpoint and for any other: the table of docs/architecture.md."""

import pytest

from longview.app.runtime.checks import Checks, decide_checks
from longview.app.settings import Settings
from longview.model.demo.verification import TemplateVerifier
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions
from longview.model.tasks.verifier import FreeFormVerifier
from longview.model.verifiers import verifier_for

ON, OFF = CaptionOptions(verify=True, refine=True), CaptionOptions(verify=False, refine=False)
LOCATE = LocateOptions(verify=True, refine=True)


def test_defaults_depend_on_the_checkpoint() -> None:
    demo = verifier_for(find_checkpoint("demo"))
    assert isinstance(demo, TemplateVerifier)
    assert decide_checks(Settings(), demo) == Checks(ON, LOCATE, AnswerOptions(False, ON, LOCATE), search=True)
    assert decide_checks(Settings(), FreeFormVerifier()) == Checks(OFF, LOCATE, AnswerOptions(False, OFF, LOCATE), search=None)


@pytest.mark.parametrize("is_on", [True, False])
def test_settings_outweigh_the_checkpoint(is_on: bool) -> None:
    settings = Settings(
        index_verify=is_on,
        index_refine=is_on,
        locate_verify=is_on,
        locate_refine=is_on,
        ask_verify=is_on,
        thinking=is_on,
        search_verify=is_on,
    )
    captions, localization = CaptionOptions(verify=is_on, refine=is_on), LocateOptions(verify=is_on, refine=is_on)
    expected = Checks(captions, localization, AnswerOptions(is_on, captions, localization, is_on), search=is_on)
    for verifier in (verifier_for(find_checkpoint("demo")), FreeFormVerifier()):
        assert decide_checks(settings, verifier) == expected
