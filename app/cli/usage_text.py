"""Errors of usage in plain words: Typer and pydantic describe values as programmers do."""

from difflib import SequenceMatcher

MIN_LIKENESS = 0.75
"""Minimum likeness of a verb that is suggested for another word, as a ratio of `difflib`: `exprot` is meant to be `export`, and
`frobnicate` nothing."""
_NO_VERB, _SUGGESTION = "No such command ", ". Did you mean "
_PLAIN = {
    "Value error, ": "",
    "Input should be a valid integer": "it must be a whole number",
    "Input should be a valid number": "it must be a number",
    "Input should be greater than or equal to ": "it must be at least ",
    "Input should be less than or equal to ": "it must be at most ",
}
"""Beginnings of messages, and what is said instead. What follows them is the limit, or how a text was parsed."""
_PARSING = ", unable to parse"


def plain_usage(message: str) -> str:
    """Return the message of an error of usage in plain words."""
    if message.startswith(_NO_VERB):
        return _unknown_verb(message)
    for beginning, plain in _PLAIN.items():
        if message.startswith(beginning):
            return plain + message.removeprefix(beginning).partition(_PARSING)[0]
    return message


def _unknown_verb(message: str) -> str:
    """Return an error about a verb that does not exist, with those for which it may be a slip of the keys."""
    verb, _, suggestions = message.removeprefix(_NO_VERB).partition(_SUGGESTION)
    near = [name for name in suggestions.rstrip("?").split(", ") if SequenceMatcher(None, verb, name).ratio() >= MIN_LIKENESS]
    text = f"There is no verb {verb.rstrip('.')}"
    return f"{text}; did you mean {' or '.join(near)}?" if near else f"{text}; `longview --help` lists all verbs."
