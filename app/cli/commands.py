"""The commands that show captions and chapters, locate, ask and search: their calls to the application, and their output."""

import logging
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command, stop
from longview.app.cli.output import highlight_terms, printable, write_out
from longview.app.cli.params import (
    VideoArgument,
    resolve_video,
    span_text,
    warn_if_incomplete,
)
from longview.app.errors import EXPECTED_ERRORS, BadRequest, OutputFailed
from longview.app.runtime.provenance import localization_provenance
from longview.app.text.contents import searchable_by
from longview.app.text.counts import count_text
from longview.app.text.sources import source_label
from longview.core.time_text import format_clock

if TYPE_CHECKING:
    from longview.app.service import ChatTurn, Moment, Segment
    from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)


@command("json", "model", "decoding")
def caption(context: Context, video: VideoArgument) -> None:
    """Print a video's captions.

    Example: longview caption 3f2a
    """
    entry = resolve_video(context, video)
    track = entry.track("captions")
    warn_if_incomplete(entry)
    if offer := context.app.caption_offer(entry):
        log.warning("%s", printable(offer.advice))
    context.print_notice()
    document = schemas.CaptionDocument(
        video_id=entry.video_id,
        duration_s=round(entry.duration_s, 3),
        events=[schemas.EventOut(**schemas.SpanOut.fields_of(item.span), text=item.text) for item in _captions(context, entry)],
        outdated=context.app.is_outdated(entry),
        incomplete=[schemas.SpanOut.of(span) for span in (track.uncovered if track else ())],
        provenance=schemas.ProvenanceOut.of(track.provenance) if track else None,
        notice=context.app.notice,
    )
    text = "\n".join(f"{event.start} - {event.end}  {event.text}" for event in document.events)
    context.print_result(document, text or _no_captions_text(entry))


def _captions(context: Context, entry: "VideoEntry") -> "Sequence[Segment]":
    return context.app.segments(entry, "captions")


def _no_captions_text(entry: "VideoEntry") -> str:
    """Return why a video has no captions, and by what it can be searched."""
    from longview.app.text.contents import NO_EVENTS

    track = entry.track("captions")
    if not entry.has_frames:
        return "There are no captions: the file has sound but no pictures."
    if track is None:
        return "There are no captions; `longview index` adds them."
    if track.status == "complete":
        return NO_EVENTS
    others = searchable_by(entry)
    return f"There are no captions: {track.note.rstrip('.')}." + (f" The video is searchable by {others}." if others else "")


@command("json", "model", "decoding")
def chapters(context: Context, video: VideoArgument) -> None:
    """Print a video's chapters, in YouTube's form, and a summary.

    Example: longview chapters 3f2a
    """
    entry = resolve_video(context, video)
    warn_if_incomplete(entry)
    chapters = context.app.chapters(entry)
    if not chapters.is_quoted:
        context.print_notice()
    track = None if chapters.is_quoted else entry.track("captions")
    document = schemas.ChaptersDocument(
        video_id=entry.video_id,
        duration_s=round(entry.duration_s, 3),
        summary=entry.summary,
        chapters=[schemas.ChapterOut(**schemas.SpanOut.fields_of(item.span), title=item.text) for item in chapters.events],
        quoted=chapters.is_quoted and bool(chapters.events),
        provenance=schemas.ProvenanceOut.of(track.provenance) if track else None,
        notice=context.app.notice,
    )
    titles = (f"“{item.text}”" if chapters.is_quoted else item.text for item in chapters.events)
    lines = [f"{format_clock(item.span.start_s)} {title}" for item, title in zip(chapters.events, titles, strict=True)]
    if document.quoted:
        lines += ["", "The chapters are parts of what is said and shown, and their titles are quotes."]
    elif not entry.summary:
        lines = [f"There are no chapters. {_no_captions_text(entry)}"]
    context.print_result(document, "\n".join([*lines, "", entry.summary]).strip())


@command("json", "model", "decoding")
def locate(context: Context, video: VideoArgument, query: Annotated[str, typer.Argument(help="What to find.")]) -> None:
    """Find all occurrences of a query, or report its absence.

    Example: longview locate 3f2a "a red circle"
    """
    from longview.app.qa.quotes.answers import PROVENANCE
    from longview.app.qa.quotes.text import quote_line

    entry = resolve_video(context, video)
    result = context.follow(context.app.locate(entry, query))
    if result.frames:
        context.print_notice()
    provenance = localization_provenance(context.app.runtime, result.frames.plan) if result.frames else PROVENANCE
    document = schemas.LocateDocument.of(entry.video_id, result, provenance, context.app.notice)
    lines = [
        f"{span_text(item.span)}  (start and end ±{item.uncertainty_s:.1f} s{'' if item.is_verified else ', not verified'})"
        for item in result.occurrences
    ]
    lines += map(quote_line, result.mentions)
    context.print_result(document, "\n".join(lines) or result.describe_absence())


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
    from longview.app.service import ChatTurn

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
    is_verified = context.app.runtime.checks.answers.verify
    document = schemas.AskDocument.of(question, answer, verified=is_verified, notice=context.app.notice)
    titles = context.app.library.titles() if len({item.video_id for item in answer.citations}) > 1 else {}
    if answer.quoted:
        # The quotes have their times.
        return document, "\n"
    evidence = ", ".join(
        " ".join(filter(None, (printable(titles.get(item.video_id, "")), span_text(item.span)))) for item in answer.citations
    )
    return document, f"\n[evidence: {evidence}]" if evidence else ""


@command("json", "model", "decoding", "search-checks")
def search(
    context: Context,
    query: Annotated[str, typer.Argument(help="What to search for, in any of 16 languages.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of moments.")] = 10,
    video: Annotated[str | None, typer.Option(help="Search only this video: its title, id or file.", show_default=False)] = None,
) -> None:
    """Search what is shown, said and written in the whole library.

    Example: longview search "red circle"
    """
    video_id = resolve_video(context, video).video_id if video else None
    results = context.follow(context.app.search(query, limit=limit, video=video_id))
    lines = [_moment_line(moment, is_bold=sys.stdout.isatty()) for moment in results.with_words]
    if results.similar and results.with_words:
        lines.append("Without a word of the query, but perhaps similar:")
    elif results.similar:
        lines.append(f"No moment has a word of “{printable(query)}” that is searched for. Perhaps similar:")
    lines += [_moment_line(moment, is_bold=False) for moment in results.similar]
    if len(results.moments) >= limit:
        lines.append(f"These are the best {limit:,}; --limit shows more.")
    if results.rejected:
        lines.append(
            f"{count_text(len(results.rejected), 'result')} hidden: verification did not confirm the caption (see --no-verify)."
        )
    if results.unverified_count and context.app.settings.search_verify is not False:
        lines.append("Some results are not verified; --verify verifies all of them.")
    document = schemas.SearchDocument(
        query=query,
        moments=[schemas.MomentOut.of_moment(moment) for moment in (*results.accepted, *results.rejected)],
        rejected=len(results.rejected),
        notice=context.app.notice,
    )
    where = " in this video" if video else " in the library"
    context.print_result(document, "\n".join(lines) or f"Nothing{where} matches “{query}”.")


def _moment_line(moment: "Moment", *, is_bold: bool) -> str:
    from longview.app.qa.retriever import VERIFIED_SOURCES

    best = moment.evidence[0]
    text = highlight_terms(best.segment.text, best.highlights if is_bold else ())
    is_unverified = best.segment.source in VERIFIED_SOURCES and not moment.verified
    others = "".join(f" + {source_label(source)}" for source in moment.sources[1:])
    note = "  (not verified)" if is_unverified else ""
    where = f"[{moment.title}, {moment.video_id}]"
    return f"{span_text(moment.span)}  {source_label(moment.source)}{others}: {text}  {where}{note}"


@command("json", "model")
def doctor(context: Context) -> None:
    """Check this installation and report problems.

    Example: longview doctor
    """
    from longview.app.diagnostics.doctor import examine
    from longview.app.diagnostics.doctor_text import diagnosis_lines

    diagnosis = examine(context.app)
    lines = [*diagnosis_lines(diagnosis.facts), *diagnosis.remarks]
    lines += [f"PROBLEM: {problem}" for problem in diagnosis.problems]
    if not diagnosis.problems:
        lines.append("No other problems found." if diagnosis.remarks else "No problems found.")
    document = schemas.DoctorDocument(**diagnosis.facts, remarks=list(diagnosis.remarks), problems=list(diagnosis.problems))
    context.print_result(document, "\n".join(map(printable, lines)))
    if diagnosis.problems:
        raise typer.Exit(1)
