"""Which checks the tasks make. A check asks the checkpoint once more, and costs time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaptionOptions:
    """Which checks follow the captioning of a window. Each asks the checkpoint again."""

    verify: bool
    """Verify every event, and caption a window again if its captions fail the check (`longview.model.tasks.quality`)."""
    refine: bool
    """Refine the times of contested events in clips of their own (`longview.model.tasks.refiner`)."""


@dataclass(frozen=True)
class LocateOptions:
    """Which checks follow the coarse pass over the whole span. Each asks the checkpoint again."""

    verify: bool
    """Verify each occurrence, and the absence of the query in each window before "not found" is stated."""
    refine: bool
    """Refine the boundaries of each occurrence in a clip of its own."""


@dataclass(frozen=True)
class AnswerOptions:
    """Which checks the tasks behind an answer make."""

    verify: bool
    """Verify each span that the answer names, drop the spans that are denied, and say so in the answer."""
    captions: CaptionOptions
    """For a question about a range, which is answered by its captions."""
    localization: LocateOptions
    """For a question that asks when something happens."""
