"""The text of single frames, read by the bundled model and by tesseract."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from longview.model.errors import InvalidTextModel
from longview.model.screen_text.frame_text import MAX_LINES, FrameText
from longview.model.screen_text.languages import UNREADABLE_LANGUAGES, printable_line, text_language
from longview.model.screen_text.lines import MIN_CONFIDENCE
from longview.model.screen_text.recognizer import TextRecognizer
from longview.model.screen_text.tesseract import TesseractRecognizer, installed_languages
from longview.model.screen_text.weights import FILES, TextModel, find_text_model
from tests.support.screen_samples import CJK_FONT, HEIGHT, MONO_FONT, WIDTH, page


def read(recognizer: TextRecognizer, image: Image.Image, *, min_confidence: float = 0.0) -> list[str]:
    lines = FrameText(recognizer, recognizer).read(np.asarray(image))
    return [line.text for line in lines if line.confidence >= min_confidence]


def noise(kind: str) -> Image.Image:
    numbers = np.random.default_rng(7)
    if kind == "noise":
        return Image.fromarray(numbers.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    if kind == "blocks":
        return Image.fromarray(numbers.integers(0, 2, (HEIGHT // 8, WIDTH // 8)).astype(np.uint8) * 255).resize((WIDTH, HEIGHT))
    image = page()
    draw = ImageDraw.Draw(image)
    for row in range(5):
        for column in range(20):
            for _ in range(3):
                ends = numbers.integers(0, 18, 4) + np.tile([15 + 21 * column, 10 + 48 * row], 2)
                draw.line(ends.tolist(), fill=(0, 0, 0), width=2)
    return image


def test_upside_down_text_is_read(recognizer: TextRecognizer) -> None:
    assert read(recognizer, page(("The bridge is closed", 40, 90)).rotate(180)) == ["The bridge is closed"]


@pytest.mark.parametrize("kind", ["noise", "blocks", "strokes"])
def test_nothing_is_read_in_texture(recognizer: TextRecognizer, kind: str) -> None:
    assert read(recognizer, noise(kind), min_confidence=MIN_CONFIDENCE) == []


def test_text_of_4_pixels_is_left_out(recognizer: TextRecognizer) -> None:
    assert (
        read(
            recognizer, page(("the letters of this line are four pixels high", 20, 90), size_px=5), min_confidence=MIN_CONFIDENCE
        )
        == []
    )


def test_scrolling_terminal_costs_its_new_lines_only(recognizer: TextRecognizer) -> None:
    text = FrameText(recognizer, recognizer)
    rows = [f"module {number * 7919 % 1000} of {number} is done" for number in range(16)]
    exact = 0
    for first in range(6):
        lines = [(row, 6.0, 6.0 + 24 * place) for place, row in enumerate(rows[first : first + 10])]
        read_rows = text.read(np.asarray(page(*lines, size_px=18, font=MONO_FONT, ink=220, paper=10)))
        exact += len({line.text for line in read_rows} & set(rows[first : first + 10]))
    # The detection leaves out a word now and then. Without a memory, 60 lines would be recognised.
    assert exact >= 54 and text.crop_count <= 40


def test_page_of_small_print_is_read_up_to_a_limit(recognizer: TextRecognizer) -> None:
    image = Image.new("RGB", (1280, 960), (255,) * 3)
    face = ImageFont.truetype(str(MONO_FONT), 14)
    rows = [f"clause {number * 7919 % 1000} of part {number}" for number in range(150)]
    for number, row in enumerate(rows):
        ImageDraw.Draw(image).text((20 + 420 * (number // 50), 6 + 19 * (number % 50)), row, fill=(0,) * 3, font=face)
    text = FrameText(recognizer, recognizer)
    texts = [line.text for line in text.read(np.asarray(image)) if line.confidence >= MIN_CONFIDENCE]
    assert text.crop_count <= MAX_LINES
    # Nothing is read that does not stand there.
    assert len(set(texts) & set(rows)) >= 0.95 * len(texts) >= 60


def test_lines_beyond_the_allowance_are_left_out(recognizer: TextRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longview.model.screen_text.frame_text.MAX_NEW_CROPS", 2)
    text = FrameText(recognizer, recognizer)
    image = page(*[(f"line number {number}", 20, 20 + 50 * number) for number in range(4)])
    assert len(text.read(np.asarray(image))) == 2 and text.crop_count == 2
    # The next frame has the rest: what is remembered costs nothing.
    assert len(text.read(np.asarray(image))) == 4


def test_changed_digit_is_recognised_again(recognizer: TextRecognizer) -> None:
    text = FrameText(recognizer, recognizer)
    for hour in ("8 pm", "9 pm", "3 pm", "8 pm"):
        (line,) = text.read(np.asarray(page((f"Room 3 opens at {hour} today", 20, 90))))
        assert line.text == f"Room 3 opens at {hour} today"
    assert text.crop_count == 3


def test_text_is_one_printable_line() -> None:
    assert printable_line("a\nb\x1b[31m\u202ec\u200b d" + "x" * 1000)[:12] == "a b [31m c d"
    assert len(printable_line("x" * 1000)) == 300


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("11：2", "11:2"),
        ("Vote：11：2（all）", "Vote:11:2(all)"),
        ("ＡＢＣ　１２３", "ABC 123"),
        ("Größe：５ %", "Größe:5 %"),
        # In text of these scripts the full width is right.
        ("開会：１１：２", "開会：１１：２"),
        ("テスト（１）", "テスト（１）"),
        ("ﾃｽﾄ：1", "ﾃｽﾄ：1"),
        ("회의：11", "회의：11"),
        ("会议 Zoom：8", "会议 Zoom：8"),
        ("。、「」", "。、「」"),
    ],
)
def test_full_width_forms_stay_only_beside_cjk_characters(line: str, expected: str) -> None:
    assert printable_line(line) == expected
    texts = {"예산 2024": "ko", "駅の前": "ja", "港口的预算": "zh", "Budget": None, "12:30": None}
    assert {text: text_language(text) for text in texts} == texts


needs_korean = pytest.mark.skipif("kor" not in installed_languages(), reason="tesseract with Korean is not installed")


@needs_korean
def test_korean_is_read_by_tesseract_and_the_rest_by_the_bundled_model(recognizer: TextRecognizer) -> None:
    assert "ko" in UNREADABLE_LANGUAGES
    korean = TesseractRecognizer("ko", recognizer, has_english="eng" in installed_languages())
    image = page(("2024 한국어 예산 회의", 20, 20), ("Budget meeting", 20, 100), ("港口的预算", 20, 180), font=CJK_FONT)
    lines = FrameText(recognizer, korean).read(np.asarray(image))
    assert [line.text for line in lines] == ["2024 한국어 예산 회의", "Budget meeting", "港口的预算"]
    assert min(line.confidence for line in lines) > 0.8
    assert "한국어" not in "".join(read(recognizer, image))


def test_models_are_loaded_without_a_network_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a connection was opened"))
    model = find_text_model()
    assert TextRecognizer(model, threads=1).recognize(np.zeros((40, 200, 3), np.uint8)).text == ""
    for name in FILES:
        (tmp_path / name).write_bytes((model.folder / name).read_bytes() if "rec" not in name else b"changed")
    with pytest.raises(InvalidTextModel, match=r"rec_small.*not the file"):
        TextRecognizer(TextModel(tmp_path, model.package_version))
    (tmp_path / "PP-OCRv6_rec_small.onnx").unlink()
    with pytest.raises(InvalidTextModel, match="cannot be read"):
        TextRecognizer(TextModel(tmp_path, model.package_version))
