"""What is known about a server after the first contact: which software it is, and what it takes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.events import as_count, as_list, as_table
from longview.model.errors import ServerUnreachable

log = logging.getLogger(__name__)

SAFE_CONTEXT_TOKENS = 8192
"""Context length that is assumed of a server that does not publish it, and for which none was set, in tokens."""
VLLM_MAX_IMAGES = 999
"""Default of vLLM's `--limit-mm-per-prompt`, which it does not publish."""
VLLM_VIDEO_TOKENS = 12_288
"""Maximum number of tokens of one video in vLLM with the default settings of Qwen3-VL's processor: its encoder cache, which it
does not publish (vLLM 0.32)."""
VLLM_VIDEO_OPTION = '--mm-processor-kwargs \'{"size": {"longest_edge": 469762048, "shortest_edge": 4096}}\''
"""Option of `vllm serve` with which a video may have 229,376 tokens."""
VLLM_TRUST_OPTION = "--trust-request-mm-kwargs"


@dataclass(frozen=True)
class ServerFacts:
    """What a server publishes, and what short requests showed."""

    software: str
    """Name of the server software, such as `vLLM`."""
    version: str | None = None
    fingerprint: str = ""
    """What identifies the weights, as far as the server publishes it: it changes when another model is served under this name."""
    context_tokens: int | None = None
    """Context length in force; None: the server does not publish it."""
    takes_images: bool | None = None
    """Whether the model sees images; None: the server does not publish it."""
    takes_video: bool = False
    """Whether frames are sent as one video with their own times."""
    max_images: int | None = None
    """Maximum number of images of a request; None: no limit is known."""
    max_video_tokens: int | None = None
    """Maximum number of tokens of one video; None: no limit is known."""
    has_json_schema: bool = False
    """Whether replies can be constrained to a JSON schema."""
    has_thinking_switch: bool = False
    """Whether a request can switch the model's thoughts on and off."""
    context_setting: str = "its context length"
    """What has to be changed for a longer context."""
    notes: tuple[str, ...] = ()
    """Sentences: what is limited, and what lifts the limit."""
    warnings: tuple[str, ...] = ()
    """Sentences that every user of this server must see."""
    problems: tuple[str, ...] = ()
    """Sentences: what would not work."""


def read_facts(contact: Contact) -> ServerFacts:
    """Find out what serves the chosen model, and what it takes.

    Raises:
        ServerUnreachable: there is no server. ServerFailed: it is no model server, or it refuses the key.
        InvalidCheckpoint: it does not serve the model.
    """
    entry = contact.model()
    facts = next(facts for read in _READERS if (facts := read(contact, entry)) is not None)
    if facts.takes_images is False:
        problem = f"{contact.server.model} does not take images on this server; choose a vision-language model."
        facts = replace(facts, problems=(*facts.problems, problem))
    return facts


def _vllm(contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:
    if entry.get("owned_by") != "vllm":
        return None
    trusts = _is_trusted(contact)
    notes, warnings = [], []
    if not trusts:
        warnings.append(
            "This vLLM does not take the times of frames from requests, so that images with timestamps between them are sent. "
            "An image shows one instant where a part of a video shows two, so that motion is seen less well. To send videos, "
            f"start it with {VLLM_TRUST_OPTION}, if you trust all who can reach it."
        )
    else:
        notes.append(
            f"A video of more than {VLLM_VIDEO_TOKENS:,} tokens may exceed vLLM's encoder cache, so that longer ones are planned "
            f"in parts. To lift the limit, start it with {VLLM_VIDEO_OPTION}, and set LONGVIEW_SERVER_VIDEO_TOKENS=229376."
        )
    return ServerFacts(
        "vLLM",
        version=_text(contact.get("/version").get("version")),
        fingerprint=_text(entry.get("root")) or "",
        context_tokens=as_count(entry.get("max_model_len")),
        takes_video=trusts,
        max_images=VLLM_MAX_IMAGES,
        max_video_tokens=VLLM_VIDEO_TOKENS,
        has_json_schema=True,
        has_thinking_switch=True,
        context_setting="--max-model-len of vllm serve",
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _is_trusted(contact: Contact) -> bool:
    """Whether vLLM takes settings of its processor from requests. Since 0.31 it refuses them unless it was started so."""
    body = {
        "model": contact.server.model,
        "messages": [{"role": "user", "content": "?"}],
        "max_tokens": 1,
        "mm_processor_kwargs": {"do_resize": False},
    }
    try:
        document = contact.post(f"{contact.server.url}/chat/completions", body)
    except ServerUnreachable:
        # A refusal comes at once. A request that is taken may wait for its turn.
        return True
    return document.is_success or "mm_processor_kwargs" not in document.message


def _sglang(contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:
    if entry.get("owned_by") != "sglang":
        return None
    model = contact.get("/model_info") or contact.get("/get_model_info")
    seen = model.get("has_image_understanding")
    return ServerFacts(
        "SGLang",
        version=_text(contact.get("/server_info").get("version")),
        fingerprint=" ".join(filter(None, (_text(model.get("model_path")), _text(model.get("weight_version"))))),
        context_tokens=as_count(entry.get("max_model_len")),
        takes_images=seen if isinstance(seen, bool) else None,
        has_json_schema=True,
        has_thinking_switch=True,
        context_setting="--context-length of SGLang",
    )


def _llama_cpp(contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:
    if entry.get("owned_by") != "llamacpp":
        return None
    meta, properties = as_table(entry.get("meta")), contact.get("/props")
    vision = as_table(properties.get("modalities")).get("vision")
    settings = as_table(properties.get("default_generation_settings"))
    weights = [properties.get("model_path"), meta.get("size"), meta.get("n_params"), meta.get("ftype")]
    return ServerFacts(
        "llama.cpp",
        version=_text(properties.get("build_info")),
        fingerprint=" ".join(str(value) for value in weights if value),
        context_tokens=as_count(meta.get("n_ctx")) or as_count(settings.get("n_ctx")),
        takes_images=vision if isinstance(vision, bool) else None,
        has_json_schema=True,
        has_thinking_switch=True,
        context_setting="-c of llama-server (divided by -np)",
    )


def _ollama(contact: Contact, _: dict[str, Any]) -> ServerFacts | None:
    version = _text(contact.get("/api/version").get("version"))
    tags = [as_table(tag) for tag in as_list(contact.get("/api/tags").get("models"))]
    # llama.cpp and SGLang imitate this list, without digests.
    tag = next((tag for tag in tags if tag.get("name") == contact.server.model and tag.get("digest")), None)
    if version is None or tag is None:
        return None
    loaded = [as_table(model) for model in as_list(contact.get("/api/ps").get("models"))]
    running = next((model for model in loaded if model.get("name") == contact.server.model), {})
    capabilities = tag.get("capabilities")
    return ServerFacts(
        "Ollama",
        version=version,
        fingerprint=_text(tag.get("digest")) or "",
        context_tokens=as_count(running.get("context_length")),
        takes_images="vision" in capabilities if isinstance(capabilities, list) else None,
        context_setting="OLLAMA_CONTEXT_LENGTH of ollama serve",
        warnings=("Ollama cuts a prompt that is longer than its context without saying so, from the front.",),
    )


def _lm_studio(contact: Contact, _: dict[str, Any]) -> ServerFacts | None:
    models = [as_table(model) for model in as_list(contact.get("/api/v0/models").get("data"))]
    model = next((model for model in models if model.get("id") == contact.server.model and "state" in model), None)
    if model is None:
        return None
    return ServerFacts(
        "LM Studio",
        fingerprint=" ".join(filter(None, (_text(model.get("publisher")), _text(model.get("quantization"))))),
        context_tokens=as_count(model.get("loaded_context_length")),
        takes_images=model.get("type") == "vlm",
        has_json_schema=True,
        context_setting="the context length with which LM Studio loads the model",
    )


def _openrouter(_: Contact, entry: dict[str, Any]) -> ServerFacts | None:
    if "canonical_slug" not in entry:
        return None
    inputs = as_list(as_table(entry.get("architecture")).get("input_modalities"))
    provider = as_table(entry.get("top_provider"))
    parameters = as_list(entry.get("supported_parameters"))
    return ServerFacts(
        "OpenRouter",
        fingerprint=_text(entry.get("canonical_slug")) or "",
        context_tokens=as_count(provider.get("context_length")) or as_count(entry.get("context_length")),
        takes_images="image" in inputs,
        has_json_schema="structured_outputs" in parameters,
        context_setting="another provider or model",
    )


def _other(_: Contact, entry: dict[str, Any]) -> ServerFacts:
    tokens = as_count(entry.get("max_model_len")) or as_count(entry.get("context_length"))
    return ServerFacts("an OpenAI-compatible server", context_tokens=tokens)


_READERS: tuple[Callable[[Contact, dict[str, Any]], ServerFacts | None], ...] = (
    _vllm, _sglang, _llama_cpp, _openrouter, _ollama, _lm_studio, _other,
)  # fmt: skip
"""The kinds of servers, the surest to recognise first."""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
