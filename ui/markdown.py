"""Render questions and answers as Markdown. Everything that a user or a model wrote is escaped here."""

import re
from collections.abc import Sequence

from longview.app.progress import Progress
from longview.app.service import AnsweredQuestion, ChatTurn, Span, find_times, format_time
from longview.ui.render import format_span


def answer(text: str, citations: Sequence[Span] = (), notice: str | None = None) -> str:
    """Render an answer as Markdown: times in it and citations are links that seek the player; the notice comes last."""
    parts = []
    end = 0
    for reference in find_times(text, duration_s=float("inf")):
        parts += [
            escaped_markdown(text[end : reference.text_start]),
            _link(text[reference.text_start : reference.text_end], reference.span.start_s),
        ]
        end = reference.text_end
    parts.append(escaped_markdown(text[end:]))
    evidence = " ".join(_link(format_span(span), span.start_s) for span in citations)
    return (
        "".join(parts).replace("\n", "  \n")
        + (f"\n\nEvidence: {evidence}" if evidence else "")
        + (f"\n\n*{escaped_markdown(notice)}*" if notice else "")
    )


def answer_progress(latest: Sequence[Progress]) -> str:
    """Render the progress of an answer, which stands where its text will continue."""
    progress = latest[-1] if latest else None
    if progress is None or progress.fraction >= 1.0:
        return " …"
    remaining = f", {format_time(progress.seconds_left)[:-2]} left" if progress.seconds_left is not None else ""
    return f" *{escaped_markdown(progress.stage)}: {progress.fraction:.0%}{remaining} …*"


def plain_answer(text: str, notice: str | None = None) -> str:
    """Render an answer about several videos as Markdown; the notice comes last."""
    return escaped_markdown(text).replace("\n", "  \n") + (f"\n\n*{escaped_markdown(notice)}*" if notice else "")


def turns(answers: Sequence[AnsweredQuestion]) -> list[ChatTurn]:
    """Return earlier questions and answers as turns of the conversation."""
    return [ChatTurn(item.question, item.answer) for item in answers]


def _link(text: str, time_s: float) -> str:
    return f"[{escaped_markdown(text)}](#t={time_s:.3f})"


def escaped_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it as it is: a model cannot insert images, links or HTML."""
    escaped_text = re.sub(r"([\\`*_{}\[\]()#+!|>~$])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    # A line that begins with a number and a full stop would become a list.
    escaped_text = re.sub(r"^(\s*\d+)\.", r"\1&#46;", escaped_text, flags=re.MULTILINE)
    # Bare web and mail addresses would become links too.
    return re.sub(r":(?=//)|(?<=www)\.|@", lambda mark: f"&#{ord(mark[0])};", escaped_text, flags=re.IGNORECASE)


def history(answers: Sequence[AnsweredQuestion], notice: str | None = None) -> list[dict[str, str]]:
    """Render earlier questions and answers as chat messages."""
    messages = []
    for item in answers:
        messages.append({"role": "user", "content": escaped_markdown(item.question)})
        messages.append({"role": "assistant", "content": answer(item.answer, item.citations, notice)})
    return messages
