"""Repetition: a reply that ends with several repeats of one passage is ended, and asked for again with a penalty."""

from collections.abc import Sequence

MAX_REPETITION_PERIOD = 64
"""Maximum length of a repeated passage, in tokens."""
MIN_REPETITION_TOKENS = 32
"""Minimum length of a repetition, in tokens. Short repetitions occur in normal replies."""
MIN_REPETITIONS = 4
"""Minimum number of repeats of the same passage."""
RETRY_PRESENCE_PENALTY = 1.5
"""Presence penalty for the second attempt after a repetitive reply, as Qwen recommends (Qwen3-VL model cards). transformers
does not implement it."""


def is_repetitive(tokens: Sequence[object]) -> bool:
    """Whether a reply ends with several repeats of the same passage."""
    for period in range(1, min(MAX_REPETITION_PERIOD, len(tokens) // MIN_REPETITIONS) + 1):
        length = max(MIN_REPETITIONS * period, MIN_REPETITION_TOKENS)
        # The passage repeats if the tail equals itself one period earlier.
        if len(tokens) >= length and tokens[-length:-period] == tokens[period - length :]:
            return True
    return False
