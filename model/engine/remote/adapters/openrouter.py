"""The adapter of OpenRouter, which passes requests on to hosted models, and asks a price."""

from typing import Any

from longview.model.engine.remote.adapters.openai import OpenAIAdapter
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.events import as_count, as_list, as_name, as_table
from longview.model.engine.remote.facts import Price, ServerFacts


class OpenRouterAdapter(OpenAIAdapter):
    """See `OpenAIAdapter`."""

    @classmethod
    def recognize(cls, contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:  # noqa: ARG003
        """See `OpenAIAdapter.recognize`."""
        if "canonical_slug" not in entry:
            return None
        inputs = as_list(as_table(entry.get("architecture")).get("input_modalities"))
        provider = as_table(entry.get("top_provider"))
        parameters = as_list(entry.get("supported_parameters"))
        return ServerFacts(
            "OpenRouter",
            fingerprint=as_name(entry.get("canonical_slug")) or "",
            context_tokens=as_count(provider.get("context_length")) or as_count(entry.get("context_length")),
            takes_images="image" in inputs,
            has_json_schema="structured_outputs" in parameters,
            has_thinking_switch="reasoning" in parameters,
            price=_price(as_table(entry.get("pricing"))),
            context_setting="another provider or model",
        )

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """See `OpenAIAdapter.body`. Long prompts are refused instead of being cut in their middle."""
        body = super().body(conversation) | {"plugins": [{"id": "context-compression", "enabled": False}]}
        if self.facts.has_thinking_switch:
            body["reasoning"] = {"enabled": conversation.thinking}
        return body


def _price(pricing: dict[str, Any]) -> Price | None:
    """Read a price, which is published as text, in dollars a token."""
    try:
        prompt_usd, reply_usd = float(pricing["prompt"]), float(pricing["completion"])
    except (KeyError, TypeError, ValueError):
        return None
    # -1: the price depends on the model that answers.
    is_price = 0 <= prompt_usd < 1 and 0 <= reply_usd < 1 and prompt_usd + reply_usd > 0
    return Price(prompt_usd, reply_usd) if is_price else None
