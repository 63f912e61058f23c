"""The states of the sources of a video, as cards and `--json` have them."""

from dataclasses import replace
from pathlib import Path

from longview.app.jobs.source_states import source_states
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import sample_entry, sample_track
from tests.support.routes import add_job, video_id


def test_captions_that_were_not_looked_for_need_a_model_only_where_none_captions_footage() -> None:
    def captions(*, captions_footage: bool) -> tuple[str, bool]:
        states = source_states(sample_entry("a" * 12), None, is_outdated=False, captions_footage=captions_footage)
        (state,) = (state for state in states if state.source == "captions")
        return state.state, "longview models" in state.reason

    assert captions(captions_footage=True) == ("not_yet", False)
    assert captions(captions_footage=False) == ("needs_model", True)


def test_what_a_job_had_done_before_it_was_paused_is_not_said_to_be_paused(tmp_path: Path) -> None:
    library, entry = Library(tmp_path), sample_entry(video_id(1))
    library.put(entry)
    job = replace(add_job(library, 1), status="paused")
    library.tracks.replace(entry.video_id, sample_track("speech"), ())

    def speech(attempts: int) -> str:
        states = source_states(library.video(entry.video_id), replace(job, attempts=attempts), is_outdated=False)
        return next(state.state for state in states if state.source == "speech")

    assert (speech(1), speech(0)) == ("none", "paused")
