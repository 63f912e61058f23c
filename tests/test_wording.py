"""Code, messages and documents do not use the phrases that `benchmarks/check_wording.py` lists."""

import pytest

from benchmarks.check_wording import ALLOWED, UNSEARCHED, files, findings


def test_no_file_has_a_listed_phrase() -> None:
    searched = [path for path in files() if path.name not in UNSEARCHED]
    assert [(path.name, *hit) for path in searched for hit in findings(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("The run goes on.", [(1, "goes on")]),
        ('"""A video\nis no\nfile."""', [(2, "is no")]),
        ("    # It is taken\n    # for another.", [(1, "taken\n    # for")]),
        ('x = "It goes "\n    f"on in {path}"', [(1, 'goes "\n    f"on')]),
        ("There is no file, and it is no longer there.", []),
        ("is_no, this node, pointing on", []),
    ],
)
def test_a_phrase_is_found_across_lines(text: str, phrases: list[tuple[int, str]]) -> None:
    assert list(findings(text)) == phrases


def test_every_exception_is_still_needed() -> None:
    texts = " ".join(path.read_text(encoding="utf-8").lower() for path in files() if path.name not in UNSEARCHED)
    assert [text for text in ALLOWED if text not in texts] == []
