"""A page whose library cannot be read shows the error, and not an empty library."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.app.settings import Settings
from longview.indexing.sqlite.database.database import DATABASE
from longview.ui.page import build
from tests.support.library_samples import put_captions, sample_entry, sample_events


def test_a_database_that_is_deleted_under_a_server_is_shown_as_an_error(tmp_path: Path) -> None:
    app = Longview(Settings(library=tmp_path))
    entry = put_captions(app.parts.library, sample_entry("a" * 12), sample_events("a red circle"))
    functions = {function.name: function.fn for function in build(app, Workers(app)).fns.values() if function.fn}
    (tmp_path / DATABASE).unlink()
    updates = functions["on_load"](SimpleNamespace(query_params={}))
    assert sum(f"{DATABASE} of the library is missing" in str(update) for update in updates) == 1
    with pytest.raises(gr.Error, match="missing"):
        functions["on_select"](entry.video_id)
    assert not (tmp_path / DATABASE).exists()
