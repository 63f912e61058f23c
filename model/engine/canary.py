"""A check of a loaded checkpoint: a plain text must be likely, and what a clip gives must be numbers.

Weights that are read wrongly, such as in an unknown layout or without their scales, load without an error and answer in fluent
nonsense. A trained language model has a loss of about 3 nats for each token of plain text; random weights have about the
logarithm of the size of the vocabulary, which is 12.
"""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from longview.model.engine.costs.machine_cache import load_measurement, save_measurement
from longview.model.engine.costs.speed_cache import software
from longview.model.engine.devices import inference
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.prefill import Prefill, append_tokens, next_logits
from longview.model.errors import InvalidCheckpoint

if TYPE_CHECKING:
    from longview.model.engine.local import LocalEngine

log = logging.getLogger(__name__)

CANARY_VERSION = 1
"""Version of the check, which grows when checkpoints that have passed must be checked again."""
MAX_TEXT_TOKENS = 200
MAX_LOSS_SHARE = 0.6
"""Maximum loss of the text, as a share of the logarithm of the size of the vocabulary."""
LOGITS_ROWS = 32
"""Number of tokens whose logits are in memory at once: those of a token take a megabyte."""
CLIP_SHAPE = (4, 128, 160, 3)
"""Frames, height, width and channels of the clip."""
CLIP_TOKENS = 512
TEXT = """
A lighthouse is a tower with a bright lamp at the top. It stands near the sea, often on a rock or at the end of a long pier,
and helps the crews of ships to find their way at night. Before there was electricity, the keeper lit an oil lamp every
evening, cleaned the glass in the morning, and wrote the weather into a book. A lens of many pieces of glass, which the
French engineer Augustin Fresnel built in 1822, gathers the light into a narrow beam that can be seen from more than thirty
kilometres away. Because the lens turns slowly, a sailor sees a flash, then darkness, then another flash. Each lighthouse has
its own rhythm, so that the captain can look at the clock, count the seconds between two flashes, and read from the map where
the ship is. Today most of the lamps are switched on by a computer, and nobody has to live in the tower any more. Many of the
old houses are now small museums, and on a clear day the view from the top is worth the climb.
"""


def check_canary(engine: "LocalEngine", cache: Path | None) -> None:
    """Check a checkpoint that was loaded, once for each content of its files.

    The bundled one is checked by its hash instead, and those that know only templates of questions, as it does, know no text.

    `cache`: the folder of this machine in which it is kept that a checkpoint has passed; without it each process checks.

    Raises:
        InvalidCheckpoint: the text is as unlikely as to random weights, or the clip gives no numbers.
        OutOfMemory: the device does not have enough memory.
    """
    checkpoint = engine.checkpoint
    key = " | ".join([f"canary {CANARY_VERSION}", checkpoint.fingerprint, engine.device, _formats(engine), *software(0)])
    if checkpoint.question_templates or load_measurement(cache, key) is not None:
        return
    loss, limit = text_loss(engine), MAX_LOSS_SHARE * math.log(engine.model.config.get_text_config().vocab_size)
    # Not `>`, because the loss is NaN if a logit is.
    if not loss <= limit:
        raise InvalidCheckpoint(
            f"{checkpoint.name} was loaded, but plain English text has a loss of {loss:.1f} nats for each token, as with random "
            f"weights (trained ones have about 3, and at most {limit:.1f} is accepted), so its files were not understood or are "
            "not trained; nothing was asked of it. LONGVIEW_CANARY=0 uses it all the same."
        )
    # On a CPU a clip takes as long as a question.
    if engine.device != "cpu" and not _is_clip_finite(engine):
        raise InvalidCheckpoint(
            f"{checkpoint.name} was loaded, but a clip gives logits that are no numbers on {engine.device}; nothing was asked of "
            "it. LONGVIEW_CANARY=0 uses it all the same."
        )
    log.info("%s has passed its check: plain text has a loss of %.2f nats for each token", checkpoint.name, loss)
    save_measurement(cache, key, {"loss": loss})


def _formats(engine: "LocalEngine") -> str:
    """Return the number formats of the weights: other ones come from the same files in another way."""
    return "+".join(sorted({str(weights.dtype).removeprefix("torch.") for weights in engine.model.parameters()}))


def text_loss(engine: "LocalEngine") -> float:
    """Return the mean loss of the tokens of a plain text, in nats."""
    ids = engine.processor.tokenizer(TEXT.replace("\n", " ").strip(), add_special_tokens=False, return_tensors="pt")["input_ids"]
    ids = ids[:, :MAX_TEXT_TOKENS].long().to(engine.model.device)
    with inference("the check of a checkpoint"):
        states = append_tokens(engine.model, ids, PreallocatedCache(engine.layer_types, ids.shape[1]), 0)[0, :-1]
        losses = [
            functional.cross_entropy(engine.model.lm_head(rows).float(), targets.to(rows.device), reduction="sum")
            for rows, targets in zip(states.split(LOGITS_ROWS), ids[0, 1:].split(LOGITS_ROWS), strict=True)
        ]
        return float(sum(losses)) / len(states)


def _is_clip_finite(engine: "LocalEngine") -> bool:
    """Whether the logits after a rendered clip are finite: a bright square that moves over a dark ground."""
    pixels = np.full(CLIP_SHAPE, 32, np.uint8)
    for number, frame in enumerate(pixels):
        frame[32:64, 16 + 16 * number : 48 + 16 * number] = (220, 60, 40)
    with inference("the check of a checkpoint"):
        prefill = Prefill(engine.model, engine.processor, PreallocatedCache(engine.layer_types, CLIP_TOKENS), clock_offset_s=0.0)
        prefill.append_text(engine.chat_template.before_video)
        prefill.append_frames(pixels, np.arange(len(pixels)) * 0.5)
        prefill.append_text(engine.chat_template.after_video)
        logits = next_logits(engine.model, engine.question_ids("What is shown?"), prefill.cache, prefill.rope_delta)
        return bool(torch.isfinite(logits).all())
