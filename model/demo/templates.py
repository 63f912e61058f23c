"""Question templates: the only questions that the demo checkpoint can answer."""

import re

_PLACEHOLDERS = {"time": r"(?P<time>\d++(?:\.\d++)?)", "thing": r"(?P<thing>\S.*?)"}
_PLACEHOLDER = re.compile(r"\{(\w++)\}")


def template_pattern(text: str) -> re.Pattern[str]:
    """Return an expression for the questions that a template asks for, without their closing mark."""
    pattern = re.escape(text.rstrip("?")).replace(r"\{", "{").replace(r"\}", "}")
    pattern = _PLACEHOLDER.sub(lambda placeholder: _PLACEHOLDERS[placeholder[1]], pattern)
    return re.compile(rf"\A{pattern}", re.IGNORECASE)


class Templates:
    """The templates of one checkpoint, such as `What happens at {time} seconds?`. See `longview.model.tasks.verifier`."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        """`texts`: the templates, with `{time}` (seconds) and `{thing}` where a question has its own words."""
        self._texts = texts

    def match(self, question: str) -> str | None:
        """Return the question in the wording of the first template that matches it; None if none matches.

        Case, spaces and the closing mark are ignored: `when does the red circle appear` matches `When does the {thing} appear?`.
        """
        plain = " ".join(question.split()).rstrip("?!. ")
        for text in self._texts:
            if match := template_pattern(text).fullmatch(plain):
                return text.format(**{name: words.lower() for name, words in match.groupdict().items()})
        return None

    def at_timestamp(self, timestamp_s: float) -> str | None:
        """Return the question about what happens at a timestamp; None if no template asks that."""
        return next((text.format(time=f"{timestamp_s:.1f}") for text in self._texts if "{time}" in text), None)

    def supported_questions(self) -> str:
        """Return a sentence for users that names the questions which can be answered."""
        examples = " ".join(text.format(time="12.5", thing="…") for text in self._texts)
        always = "When does … appear? What happens between 10 and 20 seconds?"
        return f"This checkpoint answers only questions like these: {always} {examples}"
