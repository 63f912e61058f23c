"""The adapter of LM Studio, which gets images."""

from typing import Any

from longview.model.engine.remote.adapters.openai import OpenAIAdapter
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.events import as_count, as_list, as_name, as_table
from longview.model.engine.remote.facts import ServerFacts


class LmStudioAdapter(OpenAIAdapter):
    """See `OpenAIAdapter`."""

    @classmethod
    def recognize(cls, contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:  # noqa: ARG003
        """See `OpenAIAdapter.recognize`."""
        models = [as_table(model) for model in as_list(contact.get("/api/v0/models").get("data"))]
        model = next((model for model in models if model.get("id") == contact.server.model and "state" in model), None)
        if model is None:
            return None
        return ServerFacts(
            "LM Studio",
            fingerprint=" ".join(filter(None, (as_name(model.get("publisher")), as_name(model.get("quantization"))))),
            context_tokens=as_count(model.get("loaded_context_length")),
            takes_images=model.get("type") == "vlm",
            has_json_schema=True,
            keeps_prefix=True,
            context_setting="the context length with which LM Studio loads the model",
        )
