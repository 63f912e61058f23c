"""The adapter of llama.cpp's server, which gets images."""

from typing import Any

from longview.model.engine.remote.adapters.openai import ThinkingSwitchAdapter
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.events import as_count, as_name, as_table, last_part
from longview.model.engine.remote.facts import ServerFacts


class LlamaCppAdapter(ThinkingSwitchAdapter):
    """See `OpenAIAdapter`."""

    @classmethod
    def recognize(cls, contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:
        """See `OpenAIAdapter.recognize`."""
        if entry.get("owned_by") != "llamacpp":
            return None
        meta, properties = as_table(entry.get("meta")), contact.get("/props")
        vision = as_table(properties.get("modalities")).get("vision")
        settings = as_table(properties.get("default_generation_settings"))
        weights = [last_part(as_name(properties.get("model_path"))), meta.get("size"), meta.get("n_params"), meta.get("ftype")]
        return ServerFacts(
            "llama.cpp",
            version=as_name(properties.get("build_info")),
            fingerprint=" ".join(str(value) for value in weights if value),
            context_tokens=as_count(meta.get("n_ctx")) or as_count(settings.get("n_ctx")),
            takes_images=vision if isinstance(vision, bool) else None,
            has_json_schema=True,
            has_thinking_switch=True,
            keeps_prefix=True,
            context_setting="-c of llama-server (divided by -np)",
        )
