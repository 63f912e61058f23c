"""Question templates: the only questions that the demo checkpoint can answer."""

import re

_PLACEHOLDERS = {"time": r"(?P<time>\d+(?:\.\d+)?)", "thing": r"(?P<thing>\S.*?)"}


def has_timestamp_template(templates: tuple[str, ...]) -> bool:
    """Whether one of the forms asks about one moment."""
    return any("{time}" in form for form in templates)


def timestamp_question(time_s: float, templates: tuple[str, ...]) -> str | None:
    """The first form that asks about one moment, filled in; None if there is none."""
    return next((form.format(time=f"{time_s:.1f}") for form in templates if "{time}" in form), None)


def supported_questions(templates: tuple[str, ...]) -> str:
    """What to say to a question that a checkpoint with forms cannot answer."""
    examples = " ".join(form.format(time="12.5", thing="…") for form in templates)
    always = "When does … appear? What happens between 10 and 20 seconds?"
    return f"This checkpoint answers only questions like these: {always} {examples}"


def match_template(question: str, templates: tuple[str, ...]) -> str | None:
    """The question in the wording of the first form it fits, or None if it fits none.

    Case, spaces and the closing mark do not matter: `when does the red circle appear` fits `When does the {thing} appear?`.
    """
    plain = " ".join(question.split()).rstrip("?!. ")
    for form in templates:
        pattern = re.escape(form.rstrip("?")).replace(r"\{", "{").replace(r"\}", "}")
        match = re.fullmatch(re.sub(r"\{(\w+)\}", lambda blank: _PLACEHOLDERS[blank[1]], pattern), plain, re.IGNORECASE)
        if match:
            return form.format(**{name: text.lower() for name, text in match.groupdict().items()})
    return None
