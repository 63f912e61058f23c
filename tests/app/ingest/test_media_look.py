"""A look at a video tells speech from music, and slides from a film, before any of it is indexed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longview.app.evaluation.sounds import music, write_wav
from longview.app.ingest.media_look import MediaLook, PictureLook, _sections
from longview.app.ingest.sources.screen_text_times import ReadingCounts
from longview.core.timeline import Span
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.support.screen_samples import HEIGHT, WIDTH, page, slides, write_video
from tests.support.speech_samples import make_talk, needs_speech_model


def look_at(decoder: Decoder, path: Path) -> tuple[MediaLook, VideoInfo]:
    video = decoder.probe(path)
    return MediaLook(decoder, video, Span(0.0, video.duration_s)), video


@needs_speech_model
def test_talk_has_speech_and_music_has_none(decoder: Decoder, tmp_path: Path) -> None:
    talk, video = look_at(decoder, make_talk(tmp_path / "talk.m4a", ("en", 14.5), ("en", 14.5), gap_s=6.0))
    sound = talk.sound(video.audio_streams[0].index)
    assert sound is not None and sound.speech > 0.4 and 1.5 < sound.chunks * video.duration_s < 5.0
    still, video = look_at(decoder, write_wav(tmp_path / "music.wav", music(30.0)))
    sound = still.sound(video.audio_streams[0].index)
    assert sound is not None and sound.speech < 0.1


def test_film_changes_all_the_time_and_slides_do_not(decoder: Decoder, tmp_path: Path) -> None:
    def noise(time_s: float) -> Image.Image:
        blocks = np.random.default_rng(int(time_s * 5)).integers(0, 256, (8, 14, 3), dtype=np.uint8)
        return Image.fromarray(blocks).resize((WIDTH, HEIGHT))

    shown = slides((10.0, page(("First", 40.0, 40.0))), (20.0, page(("Second", 40.0, 90.0))))
    film, _ = look_at(decoder, write_video(tmp_path / "film.mp4", noise, 24.0))
    talk, _ = look_at(decoder, write_video(tmp_path / "slides.mp4", shown, 24.0))
    moving, still = film.pictures(HEIGHT, WIDTH, lambda: lambda _: 0), talk.pictures(HEIGHT, WIDTH, lambda: lambda _: 3)
    assert moving is not None and moving.changes > 0.9 and moving.area > 0.5 and moving.lines == 0.0
    assert still is not None and still.changes < 0.2 and still.lines == 3.0
    assert moving.differences == still.differences == 1.0


def test_picture_that_stays_has_no_changes_between_the_places(decoder: Decoder, tmp_path: Path) -> None:
    shown = slides((40.0, page(("Only one", 40.0, 40.0))))
    look, _ = look_at(decoder, write_video(tmp_path / "still.mp4", shown, 36.0))
    pictures = look.pictures(HEIGHT, WIDTH, lambda: lambda _: 1)
    assert pictures is not None and pictures.changes == pictures.differences == 0.0
    assert ReadingCounts.expected(pictures, 3600.0).frames == 61.0


@pytest.mark.parametrize(
    ("slide_s", "interval_s", "lines"), [(12.0, 19.5, 8.0), (12.0, 13.3, 4.0), (60.0, 240.0, 5.0), (30.0, 700.0, 3.0)]
)
def test_changes_that_no_place_shows_are_expected_between_places_that_differ(
    slide_s: float, interval_s: float, lines: float
) -> None:
    look = PictureLook(changes=0.0, area=1.0, lines=lines, differences=1.0, interval_s=interval_s)
    seconds = 5 * interval_s
    frames = 1 + seconds // 60 + seconds / slide_s
    assert frames / 1.6 <= ReadingCounts.expected(look, seconds).frames <= 1.6 * frames


def test_look_at_hours_examines_a_bounded_part() -> None:
    sections = _sections(Span(100.0, 100.0 + 5 * 3600.0))
    assert sum(section.duration_s for section in sections) <= 180.0
    assert all(100.0 <= section.start_s < section.end_s <= 100.0 + 5 * 3600.0 for section in sections)
    assert _sections(Span(0.0, 60.0)) == [Span(0.0, 60.0)]


def test_damaged_file_is_no_error_of_the_look(decoder: Decoder, tmp_path: Path) -> None:
    path = write_video(tmp_path / "slides.mp4", slides((9.0, page(("First", 40.0, 40.0)))), 6.0)
    look, _ = look_at(decoder, path)
    path.write_bytes(b"no video")
    assert look.pictures(HEIGHT, WIDTH, lambda: lambda _: 0) is None
