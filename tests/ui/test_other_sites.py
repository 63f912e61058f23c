"""The page of another origin, in a real browser: it reads, embeds and changes nothing, and cannot tell which videos are here."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import needs_browser
from tests.support.page_servers import Server
from tests.support.shell import Shell

pytestmark = needs_browser

MISSING_ID = "0123456789ab"
PROBES = """
async ([url, id]) => {
  const element = (tag, attributes) => new Promise((resolve) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.onload = node.onloadeddata = () => resolve('loaded');
    node.onerror = () => resolve('error');
    document.body.append(node);
    setTimeout(() => resolve('silent'), 8000);
  });
  const text = (options) => (path) => fetch(url + path, options).then((reply) => `${reply.type} ${reply.status}`, () => 'error');
  const frame = async (path) => {
    const node = document.createElement('iframe');
    const loaded = new Promise((resolve) => {
      node.onload = () => resolve('loaded');
      setTimeout(() => resolve('silent'), 8000);
    });
    node.src = url + path;
    document.body.append(node);
    const state = await loaded;
    let inside = 'unreadable';
    try { inside = node.contentDocument.body.textContent.length ? 'has content' : 'empty'; } catch {}
    return `${state} ${inside} ${node.contentWindow.length}`;
  };
  return {
    image: await element('img', { src: `${url}/thumbnail/${id}/0.jpg` }),
    video: await element('video', { src: `${url}/media/${id}`, preload: 'auto', muted: true }),
    script: await element('script', { src: `${url}/export/${id}.json` }),
    style: await element('link', { rel: 'stylesheet', href: `${url}/theme.css` }),
    cors: await text({})(`/export/${id}.srt`),
    credentials: await text({ credentials: 'include' })('/config'),
    no_cors: await text({ mode: 'no-cors' })(`/export/${id}.srt`),
    post: await text({ method: 'POST', mode: 'no-cors', body: 'x' })(`/videos/${id}/undo-removal`),
    page_frame: await frame('/'),
    export_frame: await frame(`/export/${id}.srt`),
  };
}
"""
PAGE = b"<!doctype html><title>another site</title><body></body>"


class OtherSite(BaseHTTPRequestHandler):
    """Answers every request with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def other_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()


@pytest.fixture(autouse=True, scope="module")
def month_old_file(shell: Shell) -> Iterator[None]:
    """Browsers keep a file for a tenth of its age without asking again."""
    path = Path(shell.json("list")["videos"][0]["path"])
    before_s = path.stat().st_mtime
    os.utime(path, (before_s, before_s - 30 * 86_400))
    yield
    os.utime(path, (before_s, before_s))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


def probe(page: Page, site_url: str, server: Server, video_id: str) -> dict[str, str]:
    """Let a page of a site try to learn something about a video."""
    page.goto(site_url)
    results: dict[str, str] = page.evaluate(PROBES, [server.url, video_id])
    return results


def test_a_page_of_another_port_learns_nothing_about_a_video(page: Page, other_url: str, server: Server, video_id: str) -> None:
    # The browser has the video, its picture and its export in its cache, which pages of all ports share.
    assert probe(page, server.url, server, video_id)["video"] == "loaded"
    there, missing = (probe(page, other_url, server, each) for each in (video_id, MISSING_ID))
    assert there == missing
    frames = {there.pop("page_frame"), there.pop("export_frame")}
    assert frames == {"loaded unreadable 0"}
    assert set(there.values()) == {"error"}


def test_the_own_page_can_do_all_of_it(page: Page, server: Server, video_id: str) -> None:
    there, missing = (probe(page, server.url, server, each) for each in (video_id, MISSING_ID))
    expected = {"image": "loaded", "video": "loaded", "style": "loaded", "cors": "basic 200", "credentials": "basic 200"}
    assert {name: there[name] for name in expected} == expected
    assert "has content" in there["page_frame"]
    assert (missing["image"], missing["video"], missing["cors"]) == ("error", "error", "basic 404")


def test_a_form_of_another_site_changes_nothing(page: Page, other_url: str, server: Server, video_id: str) -> None:
    for path in ("/v1/jobs/1/cancel", "/gradio_api/upload", f"/v1/videos/{video_id}/undo-removal", "/gradio_api/queue/join"):
        page.goto(other_url)
        form = f"<form method=post action='{server.url}{path}' enctype='text/plain'><input name='x' value='y'></form>"
        with page.expect_navigation() as navigation:
            page.evaluate("form => { document.body.innerHTML = form; document.forms[0].submit(); }", form)
        assert navigation.value is not None and navigation.value.status == 403


def test_a_link_of_another_site_leads_to_the_page_and_to_nothing_else(
    page: Page, other_url: str, server: Server, video_id: str
) -> None:
    assert probe(page, server.url, server, video_id)["video"] == "loaded"
    for path, status in (("/", 200), (f"/?video={video_id}", 200), (f"/media/{video_id}", 403), (f"/export/{video_id}.srt", 403)):
        page.goto(other_url)
        with page.expect_navigation() as navigation:
            page.evaluate("url => { location.href = url; }", server.url + path)
        assert navigation.value is not None and navigation.value.status == status
