"""The adapter of SGLang, which gets images."""

from typing import Any

from longview.model.engine.remote.adapters.openai import ThinkingSwitchAdapter
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.events import as_count, as_name, last_part
from longview.model.engine.remote.facts import ServerFacts


class SglangAdapter(ThinkingSwitchAdapter):
    """See `OpenAIAdapter`."""

    @classmethod
    def recognize(cls, contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:
        """See `OpenAIAdapter.recognize`."""
        if entry.get("owned_by") != "sglang":
            return None
        model, settings = contact.get("/model_info") or contact.get("/get_model_info"), contact.get("/server_info")
        sees_images = model.get("has_image_understanding")
        weights = last_part(as_name(model.get("model_path"))), as_name(model.get("weight_version"))
        truncation = "It was started with --allow-auto-truncate, which cuts the end of a long prompt, its question."
        return ServerFacts(
            "SGLang",
            version=as_name(settings.get("version")),
            fingerprint=" ".join(filter(None, weights)),
            context_tokens=as_count(entry.get("max_model_len")),
            takes_images=sees_images if isinstance(sees_images, bool) else None,
            has_json_schema=True,
            has_thinking_switch=True,
            keeps_prefix=settings.get("disable_radix_cache") is not True,
            context_setting="--context-length of SGLang",
            notes=(truncation,) if settings.get("allow_auto_truncate") is True else (),
        )
