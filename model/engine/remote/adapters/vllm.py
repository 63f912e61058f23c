"""The adapter of vLLM, which takes the frames as one video with its times, if it was started to trust requests.

The times are what `Qwen3VLProcessor` gets in this process (`media_io_kwargs`, vLLM 0.18 and newer, vllm-project/vllm#40133).
Since 0.31 it takes them only with `--trust-request-mm-kwargs`; without it, frames are sent as images. vLLM keeps what it has seen
under a name that the client chooses (`uuid`): later questions send the name alone.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from longview.model.engine.execution.frame_batches import MS_PER_SECOND
from longview.model.engine.remote.adapters.openai import ThinkingSwitchAdapter
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.events import as_count, as_name, last_part
from longview.model.engine.remote.facts import ServerFacts, parse_version
from longview.model.engine.remote.http import KEY_STATUSES, describe, key_error
from longview.model.errors import ServerFailed, ServerUnreachable
from longview.video.sampling_plan import FRAMES_PER_PATCH

MAX_IMAGES = 999
"""Default of vLLM's `--limit-mm-per-prompt`, which it does not publish."""
VIDEO_TOKENS = 12_288
"""Maximum number of tokens of one video with the default settings of Qwen3-VL's processor: vLLM's encoder cache, which it does
not publish (vLLM 0.32)."""
VIDEO_OPTION = '--mm-processor-kwargs \'{"size": {"longest_edge": 469762048, "shortest_edge": 4096}}\''
"""Option of `vllm serve` with which a video may have 229,376 tokens."""
TRUST_OPTION = "--trust-request-mm-kwargs"
FIRST_WITH_TIMES = (0, 18)
"""First version that passes the times of frames to the processor (vllm-project/vllm#40133)."""
WHY_IMAGES = (
    "images with timestamps between them are sent. An image shows one instant where a part of a video shows two, so that motion "
    "is seen less well."
)
INTERNAL_ERROR = "Internal server error"
"""All that vLLM says when it has lost frames that it believes to have."""
PROCESSOR_SETTINGS = {"do_resize": False, "do_sample_frames": False}
"""The frames already have the planned size. By default, the processor would shrink the frames of a long video."""


class VllmImagesAdapter(ThinkingSwitchAdapter):
    """The adapter of a vLLM that gets images."""

    stream_options: ClassVar[dict[str, Any]] = {"include_usage": True, "continuous_usage_stats": True}

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept: set[str] = set()
        """Digests of the frames that the server has seen."""
        self._resent: set[str] = set()
        """Digests of the frames that are sent again after an error of the server."""

    @classmethod
    def recognize(cls, contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:
        """See `OpenAIAdapter.recognize`."""
        if entry.get("owned_by") != "vllm":
            return None
        version = as_name(contact.get("/version").get("version"))
        is_old = () < parse_version(version) < FIRST_WITH_TIMES
        trusts = not is_old and _is_trusted(contact)
        notes, warnings = [], []
        if is_old:
            warnings.append(f"vLLM {version} does not take the times of frames: {WHY_IMAGES} Newer ones take videos.")
        elif trusts and contact.server.max_video_tokens is None:
            notes.append(
                f"A video of more than {VIDEO_TOKENS:,} tokens may exceed vLLM's encoder cache, so that longer ones are planned "
                f"in parts. To lift the limit, start it with {VIDEO_OPTION}, and set LONGVIEW_SERVER_VIDEO_TOKENS=229376."
            )
        elif not trusts:
            warnings.append(
                f"This vLLM does not take the times of frames from requests: {WHY_IMAGES} To send videos, start it with "
                f"{TRUST_OPTION}, if you trust all who can reach it."
            )
        return ServerFacts(
            "vLLM",
            version=version,
            fingerprint=last_part(as_name(entry.get("root"))),
            context_tokens=as_count(entry.get("max_model_len")),
            takes_video=trusts,
            max_images=MAX_IMAGES,
            max_video_tokens=VIDEO_TOKENS,
            has_json_schema=True,
            has_thinking_switch=True,
            keeps_prefix=True,
            keeps_media=True,
            reports_tokens_first=True,
            context_setting="--max-model-len of vllm serve",
            notes=tuple(notes),
            warnings=tuple(warnings),
        )

    def accept(self, conversation: Conversation, original: Conversation) -> None:
        """Note that the server has the frames of a conversation. See also `OpenAIAdapter.accept`."""
        super().accept(conversation, original)
        if conversation.images:
            self._kept.add(conversation.digest)
            self._resent.discard(conversation.digest)

    def amend(self, conversation: Conversation, body: Mapping[str, Any], message: str) -> Conversation | None:
        """Send the frames themselves if the server has dropped those that were named. See also `OpenAIAdapter.amend`.

        Frames that were sent are sent again once after an internal error: the two processes of vLLM differ in what they have
        seen after a prompt that was refused as too long, and agree after that error (vLLM 0.32, `_handle_mm_cache_miss`).
        """
        parts = [part for turn in body["messages"] if isinstance(turn["content"], list) for part in turn["content"]]
        if any("uuid" in part and part[part["type"]] is None for part in parts):
            self._kept.discard(conversation.digest)
            return conversation
        if conversation.images and INTERNAL_ERROR in message:
            if conversation.digest not in self._resent:
                self._resent.add(conversation.digest)
                return conversation
            self._resent.discard(conversation.digest)
        return super().amend(conversation, body, message)

    def _frame_parts(self, conversation: Conversation) -> list[dict[str, Any]]:
        parts, is_kept = super()._frame_parts(conversation), conversation.digest in self._kept
        for image, part in zip(conversation.images, parts[1::2], strict=True):
            part["uuid"] = image.digest
            if is_kept:
                part["image_url"] = None
        return parts


class VllmVideoAdapter(VllmImagesAdapter):
    """The adapter of a vLLM that gets videos."""

    frames_per_timestamp: ClassVar[int] = FRAMES_PER_PATCH

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """See `OpenAIAdapter.body`."""
        body = super().body(conversation)
        if conversation.images:
            body["media_io_kwargs"] = {"video": _video_metadata(conversation)}
            body["mm_processor_kwargs"] = PROCESSOR_SETTINGS
        return body

    def _frame_parts(self, conversation: Conversation) -> list[dict[str, Any]]:
        if not conversation.images:
            return []
        url = "data:video/jpeg;base64," + ",".join(image.data for image in conversation.images)
        video = None if conversation.digest in self._kept else {"url": url}
        return [{"type": "video_url", "video_url": video, "uuid": conversation.digest}]


def _video_metadata(conversation: Conversation) -> dict[str, Any]:
    times_ms = [image.time_ms for image in conversation.images]
    return {
        "fps": float(MS_PER_SECOND),
        "frames_indices": times_ms,
        "total_num_frames": times_ms[-1] + 1,
        "duration": (times_ms[-1] + 1) / MS_PER_SECOND,
        "do_sample_frames": False,
        # The default of 32 would silently drop all later frames.
        "num_frames": -1,
    }


def _is_trusted(contact: Contact) -> bool:
    """Whether vLLM takes settings of its processor from requests. Since 0.31 it refuses them unless it was started so.

    Raises:
        ServerFailed: it rejects the request for another reason, for instance because its engine is dead.
    """
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
    if document.is_success:
        return True
    message = describe(contact.server, document.content)
    if document.status in KEY_STATUSES:
        raise key_error(contact.server, message)
    if "mm_processor_kwargs" not in message:
        raise ServerFailed(f"The server at {contact.server.url} rejected a short request: {message or document.status}")
    return False
