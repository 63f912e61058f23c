"""The words that chapters are made of: those of the source and language with the most text."""

import time

from longview.core.timeline import Segment, Span
from longview.indexing.search.topics import _main_segments


def test_main_language_among_very_many_is_found_at_once() -> None:
    segments = [Segment(Span(i, i + 1), "x" * (5 + (i == 700)), "subtitles", f"l{i}") for i in range(6000)]
    start_s = time.process_time()
    assert _main_segments(segments) == [segments[700]]
    assert time.process_time() - start_s < 0.5
