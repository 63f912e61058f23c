"""A page whose library cannot be read shows the error, and not an empty library."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from playwright.sync_api import Browser, expect

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.app.settings import Settings
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.ui.page import build
from tests.support.browser import needs_browser
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.page_servers import running_server


def test_a_database_that_is_deleted_under_a_server_is_shown_as_an_error(tmp_path: Path) -> None:
    app = Longview(Settings(library=tmp_path))
    entry = put_captions(app.parts.library, sample_entry("a" * 12), sample_events("a red circle"))
    functions = {function.name: function.fn for function in build(app, Workers(app)).fns.values() if function.fn}
    (tmp_path / DATABASE).unlink()
    updates = functions["on_load"](SimpleNamespace(query_params={"video": entry.video_id}))
    assert sum(f"{DATABASE} of the library is missing" in str(update) for update in updates) == 1
    with pytest.raises(gr.Error, match="missing"):
        functions["on_select"](entry.video_id)
    assert not (tmp_path / DATABASE).exists()


@needs_browser
def test_the_library_page_keeps_its_list_without_its_database_until_it_is_back(browser: Browser, tmp_path: Path) -> None:
    put_captions(Library(tmp_path), sample_entry("a" * 12, "One"), sample_events("a red circle"))
    files = [tmp_path / f"{DATABASE}{suffix}" for suffix in ("", "-wal", "-shm")]
    with running_server(tmp_path) as server:
        page = browser.new_page()
        page.goto(server.url)
        card, message = page.locator("longview-library .card"), page.locator("longview-library .message")
        expect(card).to_contain_text("One")
        away = [file.rename(file.with_suffix(".away" + file.suffix)) for file in files if file.exists()]
        # What was read stays, and what is asked for anew is an error in words.
        page.get_by_label("Find by title").fill("on")
        expect(message).to_contain_text(f"{DATABASE} of the library is missing")
        expect(card).to_contain_text("One")
        message.get_by_role("button", name="Try again").click()
        expect(message).to_contain_text("is missing")
        fresh = browser.new_page()
        fresh.goto(server.url)
        expect(fresh.locator("longview-library .message")).to_contain_text("is missing")
        expect(fresh.get_by_text("Drop videos or sound here")).to_be_hidden()
        for file in away:
            file.rename(file.with_name(file.name.replace(".away", "")))
        for tab in (page, fresh):
            tab.locator("longview-library .message").get_by_role("button", name="Try again").click()
            expect(tab.locator("longview-library .message")).to_be_hidden()
            expect(tab.locator("longview-library .card")).to_contain_text("One")
        page.close()
        fresh.close()
