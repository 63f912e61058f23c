"""The command that asks: about one video, several, or the library."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command, stop
from longview.app.cli.output import printable, write_out
from longview.app.cli.params import (
    resolve_video,
    span_text,
)
from longview.app.errors import EXPECTED_ERRORS, BadRequest, OutputFailed

if TYPE_CHECKING:
    from longview.indexing.records.video import VideoEntry
    from longview.model.engine.base import ChatTurn


@command("json", "model", "decoding", "ask-checks", "transcript", "thinking")
def ask(
    context: Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VIDEO...] [QUESTION]", help="Videos (title, id or file), then the question."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Read questions line by line and keep the videos loaded between them.")
    ] = False,
) -> None:
    """Ask about one video, several videos, or the whole library.

    Example: longview ask 3f2a "What happens at 0:42?"
    """
    from longview.model.engine.base import ChatTurn

    arguments = arguments or []
    if not arguments and not interactive:
        raise typer.BadParameter("the question is missing; add it after the videos, or use --interactive.")
    videos, question = (arguments, None) if interactive else (arguments[:-1], arguments[-1])
    if question is not None and not question.strip():
        raise BadRequest("The question is empty; ask something about the video.")
    if question is not None and not videos and len(question.split()) < 2:
        raise BadRequest(
            f'“{question}” is not a question of two words or more; write: longview ask VIDEO "What happens at 0:20?"'
        )
    entries = [resolve_video(context, video) for video in videos]
    if question is not None:
        document, text = _answer(context, entries, question)
        context.print_result(document, text)
        if document.provenance and not document.quoted:
            context.print_notice()
        return
    documents: list[schemas.AskDocument | schemas.FailedAnswerOut] = []
    history: list[ChatTurn] = []
    try:
        for line in _read_questions():
            try:
                answer, text = _answer(context, entries, line, history=history)
                # Quotes are data, and no words of the model.
                history += [] if answer.quoted else [ChatTurn(line, answer.answer)]
                documents.append(answer)
                if answer.provenance and not answer.quoted:
                    context.print_notice()
            except EXPECTED_ERRORS as error:
                if isinstance(error, OutputFailed):
                    raise
                # One question that cannot be answered does not end the conversation.
                documents.append(schemas.FailedAnswerOut(question=line, error=schemas.ErrorOut.of(error)))
                text = str(error)
            if not context.as_json:
                write_out(text + "\n")
    except KeyboardInterrupt:
        if context.as_json:
            # The answers so far are printed.
            context.print_result(schemas.ConversationDocument(answers=documents), "")
        stop(as_json=False)
    if context.as_json:
        context.print_result(schemas.ConversationDocument(answers=documents), "")


def _read_questions() -> Iterator[str]:
    """Yield lines from the terminal or a pipe until its end, without the empty ones."""
    while True:
        try:
            line = input("? " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if line.strip():
            yield line


def _answer(
    context: Context, entries: "Sequence[VideoEntry]", question: str, *, history: "Sequence[ChatTurn]" = ()
) -> tuple[schemas.AskDocument, str]:
    """Answer one question, and print the pieces of the answer as text. Return the document and the text still to print."""
    answer = context.follow(context.app.ask(entries, question, history=history))
    document = schemas.AskDocument.of(question, answer, verified=context.app.verifies_answers, notice=context.app.notice)
    titles = context.app.titles() if len({item.video_id for item in answer.citations}) > 1 else {}
    if answer.quoted:
        # The quotes have their times.
        return document, "\n"
    evidence = ", ".join(
        " ".join(filter(None, (printable(titles.get(item.video_id, "")), span_text(item.span)))) for item in answer.citations
    )
    return document, f"\n[evidence: {evidence}]" if evidence else ""
