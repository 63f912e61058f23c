"""The verbs of the command line: what each asks of the application, and what it prints. Those that write files: `cli_files`."""

import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from longview.app.cli.console import Context, command, error_document, printable, progress_bar
from longview.app.cli.params import (
    ContextTokens,
    End,
    ExistingVideo,
    Start,
    VideoArgument,
    coverage_row,
    parse_seconds,
    resolve_video,
    span_row,
    span_text,
    warn_if_incomplete,
)
from longview.app.doctor import examine
from longview.app.errors import EXPECTED_ERRORS, BadRequest
from longview.app.progress import Progress, StagedProgress
from longview.app.service import NO_CAPTIONS, ChatTurn, plan_facts, video_facts
from longview.indexing.exports import event_row
from longview.indexing.library import VideoEntry
from longview.video.time_text import format_clock, format_time

log = logging.getLogger(__name__)


@command
def index(
    call: Context,
    paths: Annotated[list[Path], typer.Argument(help="Video files.")],
    start: Start = None,
    end: End = None,
    context: ContextTokens = None,
) -> None:
    """Caption videos and put them into the library."""
    start_s, end_s = parse_seconds(start), parse_seconds(end)
    rows: list[dict[str, Any]] = []
    failed: list[Exception] = []
    call.print_notice()
    for path in paths:
        try:
            with progress_bar() as on_progress:
                # This process ends with its last file: nobody will ask what it has read.
                done = call.app.index(
                    path, start_s=start_s, end_s=end_s, context_tokens=context, keep_sessions=False, on_progress=on_progress
                )
        except EXPECTED_ERRORS as error:
            failed.append(error)
            rows.append({"path": str(path), "status": "failed", "error": error_document(error)})
            continue
        entry = done.entry
        rows.append(
            {
                "video_id": entry.video_id,
                "path": str(entry.path),
                "status": "indexed",
                "duration_s": round(entry.duration_s, 3),
                "events": entry.caption_count,
                "seconds_spent": round(done.seconds_spent, 2),
                "incomplete": [span_row(span) for span in entry.incomplete],
            }
        )
    if failed and len(paths) == 1:
        raise failed[0]
    lines = (
        f"{row['video_id']}  {format_time(row['duration_s'])}  {row['events']} events in {row['seconds_spent']} s  "
        f"{printable(row['path'])}"
        if row["status"] == "indexed"
        else f"failed: {row['error']['message']}"
        for row in rows
    )
    call.print_result({"videos": rows, "notice": call.app.checkpoint.notice}, "\n".join(lines))
    if failed:
        raise typer.Exit(1)


@command
def list_(call: Context) -> None:
    """Show the videos of the library."""
    entries = call.app.videos()
    rows = [
        {
            "video_id": entry.video_id,
            "title": entry.title,
            "path": str(entry.path),
            "duration_s": round(entry.duration_s, 3),
            "indexed": span_row(entry.span),
            "events": entry.caption_count,
            "indexed_at": entry.indexed_at,
            "checkpoint": entry.provenance.checkpoint,
            "stale": call.app.is_stale(entry),
        }
        for entry in entries
    ]
    lines = (
        f"{entry.video_id}  {format_time(entry.duration_s):>10}  {entry.caption_count:>4} events  {entry.title}"
        + ("" if entry.span.duration_s >= entry.duration_s - 0.1 else f"  (only {span_text(entry.span)})")
        + ("  (stale: index again)" if call.app.is_stale(entry) else "")
        for entry in entries
    )
    call.print_result({"videos": rows}, "\n".join(lines) or "The library is empty; `index FILE` puts a video into it.")


@command
def remove(call: Context, video: ExistingVideo) -> None:
    """Remove a video from the library; its file stays where it is."""
    entry = call.app.remove(video)
    call.print_result(
        {"video_id": entry.video_id, "path": str(entry.path), "removed": True},
        f"Removed {entry.title}; {printable(str(entry.path))} was not touched.",
    )


@command
def plan(
    call: Context,
    video: ExistingVideo,
    start: Start = None,
    end: End = None,
    context: ContextTokens = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames a second.", show_default=False)] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Most frames in all.", show_default=False)] = None,
) -> None:
    """Show which frames would be looked at for a question, and what that costs."""
    report = call.app.plan(
        video, start_s=parse_seconds(start), end_s=parse_seconds(end), context_tokens=context, fps=fps, max_frames=max_frames
    )
    facts = plan_facts(report.plan) | {
        "estimated_seconds": round(report.estimated_seconds, 2),
        "estimated_bytes": report.estimated_bytes,
        "video": video_facts(report.video),
    }
    text = (
        f"{facts['frames']} frames of {facts['width']}x{facts['height']} in {len(facts['windows'])} window(s), "
        f"one every {report.plan.patch_period_s / 2:.2f} s\n"
        f"{facts['total_tokens']} tokens: {facts['visual_tokens']} visual, {facts['stamp_tokens']} for times, "
        f"the rest for question and reply; at most {max(report.plan.window_tokens)} in one window\n"
        f"One look tells time to {facts['grain_s']:.2f} s; pictures that stand longer are read once, so it may be less; "
        f"reading it will take about {facts['estimated_seconds']:.1f} s "
        f"and {report.estimated_bytes / 1e9:.1f} GB on this {call.app.device}"
    )
    if call.app.settings.key_frames_only:
        text += "\nWith --fast only the key frames among these are read: what happens between two of them is not seen."
    facts |= {"key_frames_only": call.app.settings.key_frames_only}
    call.print_result(facts | {"checkpoint": call.app.checkpoint.identity, "notice": call.app.checkpoint.notice}, text)


@command
def caption(call: Context, video: VideoArgument) -> None:
    """Print a video's captions."""
    entry = resolve_video(call, video)
    events = [event_row(item.event) for item in call.app.captions(entry)]
    warn_if_incomplete(entry)
    if call.app.is_stale(entry):
        log.warning("These captions were made by %s; index the video again to renew them.", entry.provenance.checkpoint)
    call.print_notice()
    document = {
        "video_id": entry.video_id,
        "duration_s": round(entry.duration_s, 3),
        "events": events,
        "stale": call.app.is_stale(entry),
        "incomplete": [span_row(span) for span in entry.incomplete],
    }
    text = "\n".join(f"{event['start']} - {event['end']}  {event['text']}" for event in events) or (
        NO_CAPTIONS if entry.incomplete else "Nothing was seen in this video."
    )
    call.print_result(document | call.provenance_fields(entry.provenance), text)


@command
def chapters(call: Context, video: VideoArgument) -> None:
    """Print what a video is about, and its chapters as YouTube takes them."""
    entry = resolve_video(call, video)
    warn_if_incomplete(entry)
    call.print_notice()
    rows = [span_row(chapter.span) | {"title": chapter.text} for chapter in entry.chapters]
    document = {"video_id": entry.video_id, "duration_s": round(entry.duration_s, 3), "summary": entry.summary, "chapters": rows}
    lines = [f"{format_clock(chapter.span.start_s)} {chapter.text}" for chapter in entry.chapters]
    if not entry.summary:
        lines = ["There are no chapters: nothing could be looked at, or it was indexed before there were any (index it again)."]
    call.print_result(document | call.provenance_fields(entry.provenance), "\n".join([*lines, "", entry.summary]).strip())


@command
def locate(call: Context, video: VideoArgument, query: Annotated[str, typer.Argument(help="What to look for.")]) -> None:
    """Find all occurrences of something in a video, or say that it is not there."""
    entry = resolve_video(call, video)
    with progress_bar() as on_progress:
        result = call.app.locate(entry, query, on_progress=on_progress)
    call.print_notice()
    looked = result.coverage
    document = {
        "query": query,
        "video_id": entry.video_id,
        "spans": [span_row(item.span) | {"error_s": round(item.uncertainty_s, 3)} for item in result.occurrences],
        "found": bool(result.occurrences),
        "coverage": coverage_row(looked.seconds, looked.frames, looked.patch_period_s, looked.uncovered),
    }
    lines = [f"{span_text(item.span)}  (each edge within about {item.uncertainty_s:.1f} s)" for item in result.occurrences]
    nothing = f"Not in this video: {query}. {result.coverage}"
    call.print_result(document | call.provenance_fields(call.app.provenance(result.plan)), "\n".join(lines) or nothing)


@command
def ask(
    call: Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VIDEO...] [QUESTION]", help="Videos, then the question; without a video the library is asked."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Ask on, a question a line, about videos that stay read.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Look again at each time that an answer names.")] = False,
) -> None:
    """Ask a question about one video, several, or the whole library; or one after the other with --interactive."""
    words = words or []
    if not words and not interactive:
        raise typer.BadParameter("a question is missing.")
    videos, question = (words, None) if interactive else (words[:-1], words[-1])
    if question is not None and not question.strip():
        raise BadRequest("The question is empty: ask something about the video.")
    if question is not None and not videos and len(question.split()) < 2:
        raise BadRequest('Name the video before the question: ask VIDEO "What happens at 0:20?"')
    entries = [resolve_video(call, video) for video in videos]
    if question is not None:
        document, text = _answer(call, entries, question, verify=verify)
        call.print_result(document, text)
        call.print_notice()
        return
    call.print_notice()
    documents: list[dict[str, Any]] = []
    history: list[ChatTurn] = []
    for line in _read_questions():
        try:
            document, text = _answer(call, entries, line, history=history, verify=verify)
            history.append(ChatTurn(line, document["answer"]))
        except EXPECTED_ERRORS as error:
            # One question that makes no sense does not end the conversation.
            document, text = {"question": line, "error": error_document(error)}, str(error)
        documents.append(document)
        if not call.as_json:
            print(text)
    if call.as_json:
        call.print_result({"answers": documents}, "")


def _read_questions() -> Iterator[str]:
    """Lines from the terminal or a pipe, until its end; empty ones are nothing asked."""
    while True:
        try:
            line = input("? " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if line.strip():
            yield line


def _answer(
    call: Context, entries: Sequence[VideoEntry], question: str, *, history: Sequence[ChatTurn] = (), verify: bool
) -> tuple[dict[str, Any], str]:
    """Answer one question; people see it while it is being written. Returns what is left to say."""
    with progress_bar() as on_progress:
        looking = True

        def show(progress: Progress) -> None:
            # Once the answer has begun it is the progress.
            if looking:
                on_progress(progress)

        asking = call.app.ask(entries, question, history=history, verify=verify, on_progress=show)
        pieces = iter(asking)
        first = next(pieces, "")
        looking = False
    for piece in itertools.chain([first], pieces):
        if not call.as_json:
            print(piece, end="", flush=True)
    answer = asking.answer
    document = {
        "question": question,
        "answer": answer.text,
        "evidence": [{"video_id": item.video_id} | span_row(item.span) for item in answer.citations],
        "seconds": {"first_token": round(answer.first_token_s, 3), "total": round(answer.total_s, 3)},
        "coverage": coverage_row(answer.covered_s, answer.frames, answer.patch_period_s, answer.uncovered),
        "verified": verify,
    }
    several = len({item.video_id for item in answer.citations}) > 1
    seen = ", ".join((f"{item.video_id} " if several else "") + span_text(item.span) for item in answer.citations)
    return document | call.provenance_fields(*answer.provenance), f"\n[seen at {seen}]" if seen else ""


@command
def search(
    call: Context,
    query: Annotated[str, typer.Argument(help="What to search for, in any of 16 languages.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most moments to show.")] = 10,
    video: Annotated[str | None, typer.Option(help="Only in this video.", show_default=False)] = None,
    verify: Annotated[
        bool, typer.Option(help="Look again at each moment, and leave out those where what the caption says is not seen.")
    ] = True,
) -> None:
    """Search the captions of the whole library."""
    proposed = call.app.search(query, limit=limit, video=resolve_video(call, video).video_id if video else None)
    moments = list(proposed)
    if verify and proposed:
        with progress_bar() as on_progress:
            stages = StagedProgress(on_progress)
            stages.begin("looking again", until=1.0)
            moments = [moment for moment in call.app.verify_moments(proposed, on_part=stages) if moment.verified is not False]
    left_out = len(proposed) - len(moments)
    call.print_notice()
    rows = [
        {"video_id": moment.video_id, "title": moment.title}
        | span_row(moment.span)
        | {"text": moment.text, "score": moment.score, "source": moment.source, "verified": moment.verified}
        for moment in moments
    ]
    lines = [
        f"{moment.score:.2f}  {span_text(moment.span)}  {moment.text}  [{moment.title}, {moment.video_id}]" for moment in moments
    ]
    if left_out:
        lines.append(f"{left_out} more left out: a second look did not see what the caption says (--no-verify shows them).")
    call.print_result(
        {"query": query, "moments": rows, "left_out": left_out} | {"notice": call.app.checkpoint.notice},
        "\n".join(lines) or f"No caption in the library fits “{query}”.",
    )


@command
def doctor(call: Context) -> None:
    """Show what was found on this machine, and what is wrong."""
    found = examine(call.app)
    lines = [f"{name}: {value}" for name, value in found.facts.items()]
    lines += [f"PROBLEM: {problem}" for problem in found.problems] or ["Everything works."]
    call.print_result(found.facts | {"problems": list(found.problems)}, "\n".join(lines))
    if found.problems:
        raise typer.Exit(1)
