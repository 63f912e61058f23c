"""Samples that several tests of real replies use."""

from longview.core.timeline import Span

DOG = Span(23.0, 48.0)
SPANS = [{"start": DOG.start_s, "end": DOG.end_s}]
"""A span that replies name."""
UNDECIDED = [
    "",
    ".",
    "是",
    "是的，有一只狗。",
    "Sí",
    "Sí, un perro corre.",
    "네, 있습니다.",
    "Nobody knows.",
    "Not clear.",
    "Yesterday.",
    "<think>",
    "<think>No dog so far, but",
    "The video shows a stage, a man and a microphone. It is about a talk at a conference. Yes.",
]
"""Replies to a verification that say neither yes nor no."""
