"""The choice of the adapter that suits a server."""

from dataclasses import replace

from longview.model.engine.remote.adapters.base import Adapter
from longview.model.engine.remote.adapters.llama_cpp import LlamaCppAdapter
from longview.model.engine.remote.adapters.lm_studio import LmStudioAdapter
from longview.model.engine.remote.adapters.ollama import OllamaAdapter
from longview.model.engine.remote.adapters.openai import OpenAIAdapter
from longview.model.engine.remote.adapters.openrouter import OpenRouterAdapter
from longview.model.engine.remote.adapters.sglang import SglangAdapter
from longview.model.engine.remote.adapters.vllm import VllmImagesAdapter, VllmVideoAdapter
from longview.model.engine.remote.contact import Contact

_ADAPTERS = (
    VllmImagesAdapter, SglangAdapter, LlamaCppAdapter, OpenRouterAdapter, OllamaAdapter, LmStudioAdapter, OpenAIAdapter,
)  # fmt: skip
"""The adapters, those first whose servers are the surest to recognise."""


def find_adapter(contact: Contact) -> Adapter:
    """Find out what serves the chosen model, and what it takes.

    Raises:
        ServerUnreachable: there is no server. ServerFailed: it is not a model server, or it refuses the key.
        InvalidCheckpoint: it does not serve the model.
    """
    entry = contact.model()
    for kind in _ADAPTERS:
        facts = kind.recognize(contact, entry)
        if facts is None:
            continue
        if facts.takes_images is False:
            problem = f"{contact.server.model} does not take images on this server; choose a vision-language model."
            facts = replace(facts, problems=(*facts.problems, problem))
        return (VllmVideoAdapter if facts.takes_video else kind)(contact.server, facts)
    raise AssertionError("the last adapter takes every server")
