"""Checkpoints that think: the bundled one with chat templates in the manner of Qwen3-VL-Thinking and of Qwen3.5."""

import json
import shutil
from pathlib import Path
from typing import Any

from longview.model.engine.checkpoints.checkpoints import DEMO

_MESSAGES = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.content is string %}{{- message.content }}{%- else %}
        {%- for item in message.content %}
            {%- if item.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- else %}{{- item.text }}{%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"""
ALWAYS_THINKING = _MESSAGES + "{{- '<think>\n' }}{%- endif %}"
"""As Qwen3-VL-Thinking: each prompt opens the thoughts."""
THINKING_BY_DEFAULT = (
    _MESSAGES + "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}"
    "{%- else %}{{- '<think>\n' }}{%- endif %}{%- endif %}"
)
"""As Qwen3.5-9B: a switch, and thoughts where it is not set. Without thoughts an empty block takes their place."""
REPLYING_BY_DEFAULT = (
    _MESSAGES + "{%- if enable_thinking is defined and enable_thinking is true %}{{- '<think>\n' }}"
    "{%- else %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
)
"""As Qwen3.5-0.8B: a switch, and no thoughts where it is not set."""
UNUSED_TOKENS = {"ÿ": "<think>", "þ": "</think>"}
"""Tokens of bytes that no UTF-8 text contains, and the tags in their place."""


def write_thinking_checkpoint(folder: Path, template: str, **generation_config: Any) -> Path:
    """Write the bundled checkpoint with another template, the tags as tokens, and further sampling values."""
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for old, tag in UNUSED_TOKENS.items():
        vocabulary[tag] = vocabulary.pop(old)
        token = {"id": vocabulary[tag], "content": tag, "special": False}
        tokenizer["added_tokens"].append(token | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | generation_config))
    return folder
