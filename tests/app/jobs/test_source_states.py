"""The states of the sources of a video, as cards and `--json` have them."""

from longview.app.jobs.source_states import source_states
from tests.support.library_samples import sample_entry


def test_captions_that_were_not_looked_for_need_a_model_only_where_none_captions_footage() -> None:
    def captions(*, captions_footage: bool) -> tuple[str, bool]:
        states = source_states(sample_entry("a" * 12), None, is_outdated=False, captions_footage=captions_footage)
        (state,) = (state for state in states if state.source == "captions")
        return state.state, "longview models" in state.reason

    assert captions(captions_footage=True) == ("not_yet", False)
    assert captions(captions_footage=False) == ("needs_model", True)
