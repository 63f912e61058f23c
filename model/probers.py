"""The choice of the prober that suits a checkpoint."""

from typing import TYPE_CHECKING

from longview.model.demo.probing import TemplateProber
from longview.model.tasks.prober import FreeFormProber, Prober

if TYPE_CHECKING:
    from longview.model.engine.checkpoints.checkpoints import Checkpoint


def prober_for(checkpoint: "Checkpoint") -> Prober:
    """Return the prober that suits a checkpoint: by templates if it answers only those, else free-form."""
    if checkpoint.question_templates:
        return TemplateProber(checkpoint.question_templates, checkpoint.no_event_replies)
    return FreeFormProber()
