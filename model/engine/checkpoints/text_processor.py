"""The texts and tokens of a checkpoint by its files, without transformers: for plans, which need neither frames nor weights.

Replies are made with transformers' own processor. A test compares the two.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longview.model.errors import InvalidCheckpoint

TEMPLATE_FILE = "chat_template.jinja"
OLDER_TEMPLATE_FILES = ("chat_template.json", "tokenizer_config.json")
"""Files that have the template as a text under `chat_template`."""


class TextProcessor:
    """The tokenizer and the chat template of a checkpoint, with the part of transformers' processor that plans use."""

    def __init__(self, folder: Path) -> None:
        """Read the files.

        Raises:
            InvalidCheckpoint: a file is missing or cannot be used, or a package is not installed.
        """
        try:
            # It comes with transformers.
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            self.chat_template = _read_template(folder)
        except Exception as error:  # the package raises its errors as plain exceptions
            raise InvalidCheckpoint(f"The tokenizer in {folder} cannot be read: {error}") from error
        self.video_token = str(settings.get("video_token") or "<|video_pad|>")
        self.vision_start_token = str(settings.get("vision_start_token") or "<|vision_start|>")
        self.vision_end_token = str(settings.get("vision_end_token") or "<|vision_end|>")

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def apply_chat_template(self, messages: Sequence[dict[str, Any]], **variables: Any) -> str:
        """Render the template as transformers does, in a sandbox: it is a program of whoever made the checkpoint.

        Raises:
            InvalidCheckpoint: it cannot be rendered.
        """
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def raise_exception(message: str) -> None:
            raise jinja2.TemplateError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        environment.globals["raise_exception"] = raise_exception
        environment.filters["tojson"] = _to_json
        try:
            return environment.from_string(self.chat_template).render(messages=messages, **variables)
        except (jinja2.TemplateError, ValueError, TypeError, RecursionError, ArithmeticError, LookupError) as error:
            raise InvalidCheckpoint(f"The chat template cannot be rendered: {error}") from error


def _read_template(folder: Path) -> str:
    path = folder / TEMPLATE_FILE
    if path.exists():
        return path.read_text(encoding="utf-8")
    for name in OLDER_TEMPLATE_FILES:
        path = folder / name
        document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if isinstance(document.get("chat_template"), str):
            return str(document["chat_template"])
    raise ValueError("there is no chat template")


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
