"""The checks and options of the tasks. Each check sends further questions to the checkpoint, and takes time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaptionOptions:
    """The checks that follow the captioning of a window."""

    verify: bool
    """Verify every event, and caption a window again if its captions fail the check (`longview.model.tasks.quality`)."""
    refine: bool
    """Refine the times of contested events in clips of their own (`longview.model.tasks.refiner`)."""


@dataclass(frozen=True)
class LocateOptions:
    """The checks that follow the coarse pass over the whole span."""

    verify: bool
    """Verify each occurrence, and the absence of the query in each window before "not found" is stated."""
    refine: bool
    """Refine the boundaries of each occurrence in a clip of its own."""


@dataclass(frozen=True)
class AnswerOptions:
    """The checks of an answer, and of the tasks that produce it."""

    verify: bool
    """Verify each span that the answer names, drop the spans that are denied, and state that in the answer."""
    captions: CaptionOptions
    """For a question about a range, which is answered by its captions."""
    localization: LocateOptions
    """For a question that asks when something happens."""
    thinking: bool = False
    """Whether the checkpoint thinks before an answer in its own words, where its chat template has a switch for it."""
