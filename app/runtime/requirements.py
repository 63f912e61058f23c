"""Requirements of a question that the chosen checkpoint does not meet."""

from typing import TYPE_CHECKING

from longview.app.errors import BadRequest
from longview.app.runtime.provenance import is_outdated
from longview.core.timeline import Span, subtract_spans
from longview.indexing.records.video import VideoEntry
from longview.model.errors import ModelError

if TYPE_CHECKING:
    from longview.app.runtime.runtime import Runtime


def require_answers(runtime: "Runtime") -> None:
    """Check that the chosen checkpoint was trained to answer questions.

    Raises:
        BadRequest: it was not.
    """
    if not runtime.checkpoint.profile.capabilities.answers:
        raise BadRequest(
            f"{runtime.checkpoint.name} was trained to locate, and not to answer; choose it with --grounding-model, and another "
            "checkpoint with --model."
        )


def captions_footage(runtime: "Runtime") -> bool:
    """Whether the chosen checkpoint captions any footage on this machine; the bundled one knows moving shapes only."""
    from longview.model.engine.local_access import missing_packages_text

    try:
        checkpoint = runtime.checkpoint
    except ModelError:
        return False
    is_possible = runtime.settings.server is not None or missing_packages_text() is None
    return is_possible and checkpoint.profile.capabilities.captions and checkpoint.ood_detector_file is None


def require_known_footage(runtime: "Runtime", entry: VideoEntry) -> None:
    """Check that the chosen checkpoint did not decline all of a video when it was indexed; it would decline it again.

    Raises:
        OutOfDistribution: it did.
    """
    track = entry.track("captions")
    if track is None or track.status != "declined" or is_outdated(runtime, entry):
        return
    if not any(part.duration_s > 0 for part in subtract_spans(Span(0.0, entry.duration_s), track.uncovered)):
        from longview.model.engine.checkpoints.out_of_distribution import out_of_distribution_error

        raise out_of_distribution_error(runtime.checkpoint)
