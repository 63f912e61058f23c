"""Steps of a browser on the watch page, and the video that its tests watch."""

from playwright.sync_api import Page, ViewportSize

from longview.indexing.records.video import VideoEntry
from tests.support.browser import VIDEO
from tests.support.page_servers import Server

DURATION_S = 100.0
SPOKEN = [
    (number, f"Sentence {number} is about {'lead pipes' if number % 20 == 10 else 'trees and Blüten'}.") for number in range(96)
]
"""Start in seconds and text of what is said."""
WORD_S = 0.125
"""Duration of each word, in seconds: a sentence ends before the next one begins."""
PHONE: ViewportSize = {"width": 390, "height": 844}
MANY = 100_000
TIME = f"{VIDEO}?.currentTime"
COLUMN = """([name, x]) => {
  const root = document.querySelector('longview-watch').shadowRoot;
  const label = [...root.querySelectorAll('.names span')].find((each) => each.textContent === name);
  const canvas = root.querySelector('.view canvas');
  const y = label.offsetTop + label.offsetHeight / 2;
  const ratio = devicePixelRatio;
  return [...canvas.getContext('2d').getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data];
}"""
"""Script that returns the colour of the line with a name at a distance from its left side, in pixels."""
PLACE = "seconds => window.longviewSession.strip.x(seconds)"


def open_at(page: Page, server: Server, entry: VideoEntry, parameters: str = "") -> None:
    begin = "" if "t=" in parameters.replace("at=", "") else "&t=0"
    page.goto(f"{server.url}/watch?video={entry.video_id}&{parameters}{begin}")
    page.locator("longview-panels .row").first.wait_for()


def wait_for_time(page: Page, seconds: float, *, within_s: float = 0.3) -> None:
    page.wait_for_function(f"Math.abs({TIME} - {seconds}) < {within_s}")


def seek(page: Page, seconds: float) -> None:
    page.locator(".stage video").evaluate("(video, seconds) => { video.currentTime = seconds; }", seconds)


def pause(page: Page) -> None:
    page.evaluate(f"{VIDEO}.pause()")
