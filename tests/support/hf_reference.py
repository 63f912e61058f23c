"""Reference results: plain transformers without the engine."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from longview.video.decoding.decoder import TimedFrames


@contextmanager
def plain_transformers(model: Any) -> Iterator[None]:
    """Run a model that the engine loaded as transformers itself would: with its own attention, experts and linear layers."""
    # The engine replaces functions of single modules. Those of other packages, such as the hooks of accelerate, stay.
    replaced = {
        module: module.__dict__["forward"]
        for module in model.modules()
        if getattr(module.__dict__.get("forward"), "__module__", "").startswith("longview.")
    }
    for module in replaced:
        del module.forward
    attention = {name: getattr(model.config, name)._attn_implementation for name in ("text_config", "vision_config")}
    experts = model.config.get_text_config()._experts_implementation
    model.set_attn_implementation(dict.fromkeys(attention, "sdpa"))
    if has_experts := bool(getattr(model.config.get_text_config(), "num_experts", None)):
        model.set_experts_implementation("grouped_mm")
    try:
        yield
    finally:
        model.set_attn_implementation(attention)
        if has_experts:
            model.set_experts_implementation(experts)
        for module, forward in replaced.items():
            module.forward = forward


class HFReference:
    """A checkpoint that runs through `processor(...)` and `model.generate(...)` only."""

    def __init__(self, folder: Any, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        self.template_options: dict[str, Any] = {}
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device).eval()

    @classmethod
    def from_loaded(cls, processor: Any, model: Any, **template_options: Any) -> "HFReference":
        """Wrap a processor and a model that are already loaded. `template_options`: variables of the chat template."""
        reference = cls.__new__(cls)
        reference.processor, reference.model, reference.template_options = processor, model, template_options
        return reference

    def inputs(self, frames: TimedFrames, question: str) -> Any:
        """Return the tensors of a whole prompt. True times are passed as milliseconds of a 1,000 fps video."""
        messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question}]}]
        text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **self.template_options)
        milliseconds = [round(time_s * 1000) for time_s in frames.times_s.tolist()]
        batch = self.processor(
            text=[text],
            videos=[torch.from_numpy(np.ascontiguousarray(frames.frames)).permute(0, 3, 1, 2)],
            video_metadata=[VideoMetadata(total_num_frames=milliseconds[-1] + 1, fps=1000.0, frames_indices=milliseconds)],
            do_sample_frames=False,
            do_resize=False,
            return_tensors="pt",
        )
        return batch.to(self.model.device)

    def prompt(self, frames: TimedFrames, question: str) -> str:
        """Return the whole prompt as text."""
        return str(self.processor.batch_decode(self.inputs(frames, question)["input_ids"])[0])

    @torch.inference_mode()
    def logits(self, frames: TimedFrames, question: str) -> torch.Tensor:
        """Return the logits (vocabulary,) of the first token of the reply."""
        logits: torch.Tensor = self.model(**self.inputs(frames, question)).logits[0, -1]
        return logits

    @torch.inference_mode()
    def reply(self, frames: TimedFrames, question: str, *, max_new_tokens: int = 400) -> str:
        """Return the greedy reply."""
        return self._generate(self.inputs(frames, question), max_new_tokens)

    @torch.inference_mode()
    def reply_to_images(self, content: Sequence[dict[str, Any]], *, max_new_tokens: int = 400) -> str:
        """Return the greedy reply to a message with images. `content`: texts and images in the form of OpenAI's API."""
        images, parts = [], []
        for part in content:
            if part["type"] == "image_url":
                data = part["image_url"]["url"].partition("base64,")[2]
                images.append(Image.open(io.BytesIO(base64.b64decode(data))))
                parts.append({"type": "image"})
            else:
                parts.append(part)
        messages = [{"role": "user", "content": parts}]
        text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **self.template_options)
        inputs = self.processor(text=[text], images=images, return_tensors="pt").to(self.model.device)
        return self._generate(inputs, max_new_tokens)

    def _generate(self, inputs: Any, max_new_tokens: int) -> str:
        ids = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        return str(self.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
