"""The table of the queue as pages get it: its title, its order, its limit, and which rows are sent again."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longview.app.service import Longview
from longview.app.serving.workers import STATE_S, Workers
from longview.app.settings import Settings
from longview.core.processes import this_process
from longview.indexing.records.job import QueuedJob
from longview.ui.queue_view import MAX_ROWS, QueueState, QueueView
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.parsed_page import ParsedPage


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    return Longview(Settings(library=tmp_path))


@pytest.fixture
def view(app: Longview) -> Iterator[QueueView]:
    """A view whose server runs no jobs."""
    workers = Workers(app)
    workers.stop()
    yield QueueView(app, workers)
    workers.close(wait_s=60)


def add(app: Longview, name: str, **values: Any) -> QueuedJob:
    return app.parts.library.queue.add(Path(f"/{name}.mp4"), title=name, options={}, settings={}, priority=0, **values)


def end(app: Longview, status: Any) -> None:
    """Run the next job to an end with this state."""
    job = app.parts.library.queue.claim_next(this_process(), {})
    assert job is not None
    app.parts.library.queue.end(job.job_id, this_process(), status, reason="The disk is full.")


def later_state(view: QueueView) -> QueueState:
    """Return the state once the queue has been read again."""
    time.sleep(STATE_S)
    return view.state()


def names(state: QueueState) -> list[str]:
    return [ParsedPage(html).words.split()[1] for _, html in state.rows]


def test_queue_lists_what_runs_then_what_has_failed_then_what_waits_and_counts_the_failed(app: Longview, view: QueueView) -> None:
    assert (view.state().rows, view.state().summary) == ((), "")
    add(app, "failed")
    end(app, "failed")
    state = later_state(view)
    assert (names(state), state.summary) == (["failed"], "Queue: 1 file, 1 failed")
    paused = add(app, "paused")
    app.parts.library.queue.pause(paused.job_id)
    add(app, "running")
    app.parts.library.queue.claim_next(this_process(), {})
    for name in ("first", "second"):
        add(app, name)
    state = later_state(view)
    assert (
        names(state)[0] == "running"
        and set(names(state)[1:3]) == {"failed", "paused"}
        and names(state)[3:] == ["first", "second"]
    )
    assert state.summary == "Queue: 5 files, 1 failed"


def test_long_queue_is_cut_off_with_the_number_of_the_others(app: Longview, view: QueueView) -> None:
    for number in range(MAX_ROWS + 7):
        add(app, f"{number:03}")
    state = later_state(view)
    assert names(state) == [f"{number:03}" for number in range(MAX_ROWS)]
    assert state.more.startswith("and 7 more") and state.summary == f"Queue: {MAX_ROWS + 7} files"


def test_page_gets_only_the_rows_that_have_changed(app: Longview, view: QueueView) -> None:
    first, second = add(app, "first"), add(app, "second")
    state = later_state(view)
    assert set(json.loads(state.message(None))["rows"]) == {str(first.job_id), str(second.job_id)}
    assert later_state(view) == state
    app.parts.library.queue.pause(second.job_id)
    message = json.loads(later_state(view).message(state))
    assert message["order"] == [second.job_id, first.job_id] and set(message["rows"]) == {str(second.job_id)}


def test_only_a_video_of_the_library_is_linked(app: Longview, view: QueueView) -> None:
    put_captions(app.parts.library, sample_entry("a" * 12), sample_events("a red circle"))
    for name, digit in (("known", "a"), ("new", "b")):
        add(app, name, content_hash=digit * 40)
    links = [ParsedPage(html).links for _, html in later_state(view).rows]
    assert links == [[f"/?video={'a' * 12}"], []]
