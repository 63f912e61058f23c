"""Errors of usage in plain words: Typer and pydantic describe values as programmers do."""

from difflib import SequenceMatcher

MIN_LIKENESS = 0.75
"""Minimum likeness of a command that is suggested for another word, as a ratio of `difflib`: `exprot` is meant to be `export`,
and `frobnicate` nothing."""
_NO_COMMAND, _SUGGESTION = "No such command ", ". Did you mean "
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
    if message.startswith(_NO_COMMAND):
        return _unknown_command(message)
    for beginning, plain in _PLAIN.items():
        if message.startswith(beginning):
            return plain + message.removeprefix(beginning).partition(_PARSING)[0]
    return message


def _unknown_command(message: str) -> str:
    """Return an error about a command that does not exist, with those for which it may be a slip of the keys."""
    command, _, suggestions = message.removeprefix(_NO_COMMAND).partition(_SUGGESTION)
    near = [name for name in suggestions.rstrip("?").split(", ") if SequenceMatcher(None, command, name).ratio() >= MIN_LIKENESS]
    text = f"There is no command {command.rstrip('.')}"
    return f"{text}; did you mean {' or '.join(near)}?" if near else f"{text}; `longview --help` lists all commands."
