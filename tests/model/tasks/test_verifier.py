"""The free-form verifier asks for a yes or a no."""

import pytest

from longview.core.timeline import Span
from longview.model.tasks.verifier import FreeFormVerifier
from tests.support.fakes import FakeSession


@pytest.mark.parametrize(("first_word", "is_confirmed"), [("Yes", True), ('"Yes"', True), ("**yes**", True), ("No", False)])
def test_claim_is_confirmed_by_a_yes(first_word: str, is_confirmed: bool) -> None:
    reply = f"{first_word}, at that time there is. I could go on about it for a long time."
    session = FakeSession(Span(7200.0, 7260.0), clock_offset_s=7200.0, reply=reply)
    assert FreeFormVerifier().verify(session, Span(7210.0, 7220.0), 'a "dog" runs') is is_confirmed
    [prompt] = session.prompts
    assert "from 10.0 to 20.0 seconds" in prompt and "a 'dog' runs" in prompt
    # Generation ends with the first word and the piece behind it.
    [generation] = session.generations
    assert len(generation.text) <= len(first_word) + 2
