"""Sampling: a checkpoint's `generation_config.json` -> the next token, drawn at random from the likely ones.

Greedy thoughts repeat themselves, and so does a greedy second attempt after a repetitive reply (Qwen3 model cards, "Best
Practices": "do not use greedy decoding"). The seed comes from the prompt, so that each run gives the same reply.
"""

import hashlib
from typing import Any

import torch

from longview.model.engine.transformers_names import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from longview.model.errors import InvalidCheckpoint, UnreadableReplies


class SamplingConfig:
    """The temperature and the limits with which a checkpoint is sampled, in transformers' order and code."""

    def __init__(self, generation_config: Any, checkpoint_name: str) -> None:
        """Read `temperature`, `top_k`, `top_p` and `min_p`.

        Raises:
            InvalidCheckpoint: a value is out of its range.
        """
        values = {name: getattr(generation_config, name, None) for name in ("temperature", "top_k", "top_p", "min_p")}
        self._warpers = LogitsProcessorList()
        self._top_k = 0
        try:
            if values["temperature"] is not None:
                self._warpers.append(TemperatureLogitsWarper(float(values["temperature"])))
            # Zero stands for "no limit" (transformers, `GenerationConfig.top_k`).
            if values["top_k"]:
                self._warpers.append(TopKLogitsWarper(values["top_k"]))
                self._top_k = int(values["top_k"])
            if values["top_p"] is not None:
                self._warpers.append(TopPLogitsWarper(float(values["top_p"])))
            if values["min_p"] is not None:
                self._warpers.append(MinPLogitsWarper(float(values["min_p"])))
        except (TypeError, ValueError) as error:
            message = f"The file generation_config.json of {checkpoint_name} has an invalid value: {error}"
            raise InvalidCheckpoint(message) from error

    def candidates(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the tokens that may be drawn from logits (vocabulary,): their probabilities, float32 (n,), and ids, int64 (n,).

        The ids are None where every token may be drawn. With a limit of the top k, everything else looks at these k only, which
        takes a hundredth of the time. Of tokens that are as likely as the last of them, some are left out.
        """
        ids = None
        if 0 < self._top_k < len(logits):
            logits, ids = logits.topk(self._top_k)
        # None of these warpers looks at the tokens so far.
        scores = self._warpers(torch.empty(1, 0, dtype=torch.long), logits.float()[None])
        return scores.softmax(-1)[0], ids


def sampling_config_of(generation_config: Any, checkpoint_name: str) -> SamplingConfig | None:
    """Return how a checkpoint is sampled; None if its file does not ask for samples.

    Raises:
        InvalidCheckpoint: see `SamplingConfig`.
    """
    return SamplingConfig(generation_config, checkpoint_name) if getattr(generation_config, "do_sample", False) else None


class Sampler:
    """Draws the tokens of one reply."""

    def __init__(self, config: SamplingConfig, prompt_ids: torch.Tensor) -> None:
        """`prompt_ids`: token ids (1, n), from which the seed is made."""
        digest = hashlib.blake2b(prompt_ids.cpu().numpy().tobytes(), digest_size=7).digest()
        self._config = config
        # The generator of the CPU gives the same numbers on every device.
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest))

    def draw(self, logits: torch.Tensor) -> int:
        """Return a token, drawn from the distribution of logits (vocabulary,).

        The sums of the probabilities are searched for one random number. `torch.multinomial` would draw a number for each token
        of the vocabulary, which takes 5 to 8 ms.
        """
        probabilities, ids = self._config.candidates(logits)
        sums = probabilities.cpu().double().cumsum(0)
        if not sums[-1] > 0:
            raise UnreadableReplies("The checkpoint gives probabilities that are no numbers, so that no word can be drawn.")
        point = torch.rand(1, generator=self._generator, dtype=torch.float64) * sums[-1]
        # The first sum above the point belongs to a token with a probability above zero, because the point is below the last sum.
        index = int(torch.searchsorted(sums, point, right=True))
        return index if ids is None else int(ids[index])
