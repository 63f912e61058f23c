"""The watch page with files of every form: the picture and the words at a time are those of that time."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.core.timeline import Span
from longview.indexing.sqlite.library import Library
from longview.video.ffmpeg import ffmpeg_path
from tests.support.app_samples import demo_settings
from tests.support.browser import needs_browser
from tests.support.library_samples import put_speech, sample_entry, spoken
from tests.support.page_servers import Server, running_server

pytestmark = needs_browser
COLOURS = {"red": (0.0, 2.0), "green": (2.0, 4.0), "blue": (4.0, 6.0)}
"""What is written from when to when, in seconds."""
LEAD_S = 0.1
"""Time by which a colour is seen before it is written, in seconds: in some containers the pictures begin after the sound."""
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10")
AAC = ("-c:a", "aac")
FILES: dict[str, tuple[str, ...]] = {
    "variable.mp4": ("-vf", "select='not(mod(n,3))+lt(mod(t,1),0.5)'", "-fps_mode", "vfr", *X264, *AAC),
    "offset.mkv": (*X264, *AAC, "-output_ts_offset", "10"),
    "offset.ts": (*X264, *AAC, "-output_ts_offset", "10"),
    "hevc.mkv": ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-pix_fmt", "yuv420p", *AAC),
    "mpeg4.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
    "sound.m4a": ("-vn", *AAC),
}
PIXEL = """() => {
  const stage = document.querySelector('longview-watch')?.shadowRoot?.querySelector('.stage');
  if (!stage) return null;
  const [video, still] = [stage.querySelector('video'), stage.querySelector('img')];
  const seen = video.hidden ? still : video;
  if (video.hidden ? !still.complete || !still.naturalWidth : video.readyState < 2 || video.seeking) return null;
  const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
  context.drawImage(seen, 0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  const largest = Math.max(red, green, blue);
  return largest < 60 ? 'black' : largest === red ? 'red' : largest === green ? 'green' : 'blue';
}"""
"""Script that returns the colour of the picture: of the player, or of the still that is shown without one."""
IS_LOUD = """x => {
  const root = document.querySelector('longview-watch').shadowRoot;
  const label = [...root.querySelectorAll('.names span')].find((each) => each.textContent === 'Sound');
  const y = label.offsetTop + label.offsetHeight / 4;
  const context = root.querySelector('.view canvas').getContext('2d');
  return context.getImageData(Math.floor(x * devicePixelRatio), Math.round(y * devicePixelRatio), 1, 1).data[3] > 0;
}"""
"""Script that says whether the waveform is drawn at half of its height, at a distance from the left side, in pixels."""
IS_PLAYABLE = "() => window.longviewSession?.player.isPlayable"


def make(folder: Path, name: str, length_s: float = 6.0) -> Path:
    """Write a file that is red, green and blue for two seconds each, with a tone, and subtitles beside it that say so."""
    path = folder / name
    drawn = ",".join(
        f"drawbox=c={colour}:t=fill:w=iw:h=ih:enable='gte(t,{start_s - LEAD_S})'" for colour, (start_s, _) in COLOURS.items()
    )
    inputs = ["-f", "lavfi", "-i", f"color=black:s=160x96:r=30:d={length_s},{drawn}", "-f", "lavfi", "-i", f"sine=d={length_s}"]
    options = FILES.get(name, (*X264, *AAC))
    subprocess.run([ffmpeg_path(), "-y", "-v", "error", *inputs, *options, str(path)], check=True, timeout=60)
    lines = [
        f"{number}\n00:00:0{start_s:.3f} --> 00:00:0{end_s:.3f}\n{colour}\n".replace(".", ",")
        for number, (colour, (start_s, end_s)) in enumerate(COLOURS.items(), 1)
        if start_s < length_s
    ]
    path.with_suffix(".srt").write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def app(folder: Path) -> Longview:
    return Longview(demo_settings(folder / "library"))


@pytest.fixture(scope="module")
def server(app: Longview) -> Iterator[Server]:
    with running_server(app.folder) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


@pytest.mark.parametrize("name", FILES)
def test_a_row_shows_the_picture_of_its_time(app: Longview, server: Server, page: Page, folder: Path, name: str) -> None:
    entry = app.index(make(folder, name), IndexOptions(sources=("subtitles",))).result().entry
    page.goto(f"{server.url}/watch?video={entry.video_id}&tab=transcript")
    row = page.locator("longview-panels .row", has_text="green")
    if name == "hevc.mkv":
        # Pictures and words are there while the copy that browsers play is being made.
        row.locator("button.time").click()
        page.wait_for_function(f"({PIXEL})() === 'green'")
    page.wait_for_function(IS_PLAYABLE)
    page.wait_for_function("window.longviewSession.player.media.readyState >= 2")
    for colour in ("blue", "green", "red"):
        page.locator("longview-panels .row", has_text=colour).locator("button.time").click()
        page.evaluate("window.longviewSession.player.pause()")
        if name != "sound.m4a":
            page.wait_for_function(f"({PIXEL})() === '{colour}'")
        time_s = page.evaluate("window.longviewSession.player.time")
        assert COLOURS[colour][0] - 0.05 <= time_s < COLOURS[colour][1]
    expect(page.get_by_role("button", name="Next frame")).to_be_visible(visible=name != "sound.m4a")
    # The timeline ends where the file ends, and its sound is as long.
    width, end = page.evaluate("[window.longviewSession.strip.x(6), window.longviewSession.strip.view.clientWidth]")
    assert end == pytest.approx(width, rel=0.05)
    expect(page.locator(".names span", has_text="Sound")).to_be_visible()


def test_the_waveform_is_loud_where_the_sound_is(app: Longview, server: Server, page: Page, folder: Path) -> None:
    path = folder / "bursts.mp4"
    sound = "aevalsrc='0.9*sin(2*PI*440*t)*(between(t,2,3)+between(t,4.5,4.75))':d=6:s=48000"
    inputs = ["-f", "lavfi", "-i", "color=black:s=160x96:r=30:d=6", "-f", "lavfi", "-i", sound]
    subprocess.run([ffmpeg_path(), "-y", "-v", "error", *inputs, *X264, "-c:a", "flac", "-strict", "-2", str(path)], check=True)
    path.with_suffix(".srt").write_text("1\n00:00:02,000 --> 00:00:03,000\na burst\n")
    entry = app.index(path, IndexOptions(sources=("subtitles",))).result().entry
    page.goto(f"{server.url}/watch?video={entry.video_id}&tab=transcript")
    expect(page.locator(".names span", has_text="Sound")).to_be_visible()
    # Gradio has put the columns beside each other.
    page.wait_for_function("Math.abs(window.longviewSession.strip.x(6) - 638) < 20")
    for _ in range(2):
        for edge_s, is_rising in ((2.0, True), (3.0, False), (4.5, True), (4.75, False)):
            x = page.evaluate("seconds => window.longviewSession.strip.x(seconds)", edge_s)
            before, behind = (page.evaluate(IS_LOUD, x + step) for step in (-1.5, 1.5))
            assert (before, behind) == (not is_rising, is_rising), edge_s
        page.evaluate("window.longviewSession.strip.show(1.5, 5)")
        page.wait_for_timeout(200)


def test_a_fifth_of_a_second_is_played(app: Longview, server: Server, page: Page, folder: Path) -> None:
    entry = app.index(make(folder, "short.mp4", 0.2), IndexOptions(sources=("subtitles",))).result().entry
    page.goto(f"{server.url}/watch?video={entry.video_id}&tab=transcript")
    page.wait_for_function(f"({PIXEL})() === 'red'")
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function("window.longviewSession.player.media.ended")
    page.get_by_label("Timeline").focus()
    for key in "+++-0":
        page.keyboard.press(key)
    part = page.evaluate("window.longviewSession.strip.part")
    assert part["from"] == 0 and part["to"] == pytest.approx(entry.duration_s)


def test_thirty_hours_are_zoomed_to_a_second(app: Longview, server: Server, page: Page) -> None:
    library: Library = app.parts.library
    entry = replace(sample_entry("e" * 12, "Thirty hours"), duration_s=108_000.0)
    put_speech(library, entry, [spoken(3600.0 * hour + 20.25, f"Hour {hour}.") for hour in range(30)])
    track = library.video(entry.video_id).track("speech")
    assert track is not None
    library.tracks.update(entry.video_id, replace(track, span=Span(0, 108_000), done_s=108_000.0))
    page.goto(f"{server.url}/watch?video={entry.video_id}&tab=transcript&t=104420.3")
    expect(page.locator("longview-panels .row.now")).to_contain_text("Hour 29.")
    expect(page.locator(".controls .clock")).to_have_text("29:00:20.3 / 30:00:00")
    page.get_by_label("Timeline").focus()
    for _ in range(20):
        page.keyboard.press("+")
    part = page.evaluate("window.longviewSession.strip.part")
    assert part["to"] - part["from"] == pytest.approx(1.0, abs=0.01) and part["from"] < 104_420.25 < part["to"]


def test_a_file_that_the_browser_cannot_play_has_pictures_and_words(
    app: Longview, server: Server, page: Page, folder: Path
) -> None:
    entry = app.index(make(folder, "plain.mp4"), IndexOptions(sources=("subtitles",))).result().entry
    page.route("**/media/*", lambda route: route.fulfill(body=b"no film" * 999, content_type="video/mp4"))
    page.goto(f"{server.url}/watch?video={entry.video_id}&tab=transcript")
    expect(page.get_by_text("This browser cannot play the file")).to_be_visible()
    for colour in ("blue", "red"):
        page.locator("longview-panels .row", has_text=colour).locator("button.time").click()
        page.wait_for_function(f"({PIXEL})() === '{colour}'")


def test_a_row_of_ten_thousand_characters_is_cut_and_found(app: Longview, server: Server, page: Page) -> None:
    entry = sample_entry("d" * 12, "Long rows")
    put_speech(app.parts.library, entry, [spoken(2.0, "word " * 2000 + "needle", word_s=0.01), spoken(50.0, "Short.")])
    page.goto(f"{server.url}/watch?video={entry.video_id}&tab=transcript&find=needle")
    expect(page.get_by_text("1 of 1")).to_be_visible()
    row = page.locator("longview-panels .row").first
    assert row.evaluate("row => row.textContent.length") < 5000
