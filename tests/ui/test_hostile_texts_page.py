"""Whatever others wrote is text on every page: nothing of it runs, and no request leaves the machine."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import Browser, expect

from longview.core.timeline import Event, Segment, Span
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import QUOTES, AnsweredQuestion
from longview.indexing.sqlite.library import Library
from tests.support.browser import needs_browser
from tests.support.library_samples import as_captions, sample_entry, sample_track, shown, spoken
from tests.support.page_servers import running_server

VIDEO_ID = "ab" * 6


def hostile(place: str) -> str:
    """Return a text that would note its place if any of it ran."""
    note = f"noteRun('{place}')"
    return f"{place}<img src=x onerror={note}><script>{note}</script><svg onload={note}>`[x](javascript:{note})"


def put_hostile_video(library: Library) -> None:
    """Write a video whose every text is hostile."""
    entry = replace(
        sample_entry(VIDEO_ID, hostile("title")),
        path=Path("/videos") / f"{hostile('file').replace('/', '')}.mp4",
        summary=hostile("summary"),
        chapters=(Event(Span(0, 50), hostile("chapter")),),
        facts={"codec": hostile("codec"), "width": 640, "height": 360},
    )
    library.put(entry)
    captions = sample_track("captions", note=hostile("note"))
    library.put_captions(
        VIDEO_ID,
        captions,
        as_captions([Event(Span(1, 2), hostile("caption"))]),
        summary=entry.summary,
        chapters=entry.chapters,
    )
    library.tracks.replace(VIDEO_ID, sample_track("speech", language="en"), [spoken(3.0, hostile("speech"))])
    library.tracks.replace(VIDEO_ID, sample_track("screen_text", frames_read=100), [shown(5.0, 6.0, hostile("screen"))])
    subtitle = Segment(Span(7, 8), hostile("subtitle"), "subtitles", "en")
    library.tracks.replace(VIDEO_ID, sample_track("subtitles", language="en"), [subtitle])
    answer = AnsweredQuestion(hostile("question"), hostile("answer"), (), Provenance(QUOTES, "1", {}))
    library.conversations.add(VIDEO_ID, answer)


@needs_browser
def test_no_text_of_others_runs_on_any_page(browser: Browser, tmp_path: Path) -> None:
    put_hostile_video(Library(tmp_path / "library"))
    damaged = tmp_path / f"{hostile('job').replace('/', '')}.mp4"
    damaged.write_text("no video " * 100)
    with running_server(tmp_path / "library") as server:
        hosts: set[str | None] = set()
        places: list[str] = []
        page = browser.new_page()
        page.expose_function("noteRun", lambda place: places.append(place))
        page.set_default_timeout(60_000)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(server.url)
        expect(page.locator("longview-library .card")).to_contain_text("title<img src=x")
        page.locator("longview-library").get_by_text("Add videos").click()
        page.locator("longview-library .path").first.fill(str(damaged))
        page.locator("longview-library .by-path button").first.click()
        page.locator("longview-queue .queue > summary").click()
        expect(page.locator("longview-queue")).to_contain_text("is not a video that can be opened")
        page.goto(f"{server.url}/watch?video={VIDEO_ID}")
        expect(page.locator("longview-watch")).to_contain_text("title<img src=x")
        for tab, place in {
            "Captions": "caption",
            "Transcript": "subtitle",
            "Screen text": "screen",
            "Chapters": "chapter",
        }.items():
            page.get_by_role("tab", name=tab).click()
            expect(page.locator("longview-panels .row")).to_contain_text(f"{place}<img src=x")
            expect(page.locator("longview-panels .source-state")).not_to_contain_text("undefined")
        page.get_by_role("tab", name="Transcript").click()
        page.get_by_label("Source", exact=True).select_option("speech")
        expect(page.locator("longview-panels .row")).to_contain_text("speech<img src=x")
        page.get_by_role("tab", name="Chat").click()
        for place in ("question", "answer"):
            expect(page.locator("#longview-chat")).to_contain_text(f"{place}<img src=x")
        page.goto(f"{server.url}/search?q={quote(hostile('query'))}")
        expect(page.locator("body")).to_contain_text("title<img src=x")
        page.goto(f"{server.url}/search?q=caption")
        expect(page.locator("body")).to_contain_text("title<img src=x")
        assert places == []
        assert hosts <= {"127.0.0.1", None}
        page.close()
