"""The choice of the verifier that suits a checkpoint."""

from typing import TYPE_CHECKING

from longview.model.demo.verification import TemplateVerifier
from longview.model.tasks.verifier import FreeFormVerifier, Verifier

if TYPE_CHECKING:
    from longview.model.engine.checkpoints.checkpoints import Checkpoint


def verifier_for(checkpoint: "Checkpoint") -> Verifier:
    """Return the verifier that suits a checkpoint: by templates if it answers only those, else free-form."""
    if checkpoint.question_templates:
        return TemplateVerifier(checkpoint.question_templates, checkpoint.no_event_replies)
    return FreeFormVerifier()
