"""The commands that find something: in one video, and in the library."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import highlight_terms, printable
from longview.app.cli.params import (
    VideoArgument,
    resolve_video,
    span_text,
)
from longview.app.text.counts import count_text
from longview.core.sources import source_label, traits_of

if TYPE_CHECKING:
    from longview.indexing.search.search import Moment


@command("json", "model", "decoding")
def locate(context: Context, video: VideoArgument, query: Annotated[str, typer.Argument(help="What to find.")]) -> None:
    """Find all occurrences of a query, or report its absence.

    Example: longview locate 3f2a "a red circle"
    """
    from longview.app.qa.quotes.text import quote_line

    entry = resolve_video(context, video)
    result = context.follow(context.app.locate(entry, query))
    if result.frames:
        context.print_notice()
    provenance = context.app.localization_provenance(result)
    document = schemas.LocateDocument.of(entry.video_id, result, provenance, context.app.notice)
    lines = [
        f"{span_text(item.span)}  (start and end ±{item.uncertainty_s:.1f} s{'' if item.is_verified else ', not verified'})"
        for item in result.occurrences
    ]
    lines += map(quote_line, result.mentions)
    context.print_result(document, "\n".join(lines) or result.describe_absence())


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
    best = moment.evidence[0]
    text = highlight_terms(best.segment.text, best.highlights if is_bold else ())
    is_unverified = traits_of(best.segment.source).is_verified and not moment.verified
    others = "".join(f" + {source_label(source)}" for source in moment.sources[1:])
    note = "  (not verified)" if is_unverified else ""
    where = f"[{moment.title}, {moment.video_id}]"
    return f"{span_text(moment.span)}  {source_label(moment.source)}{others}: {text}  {where}{note}"
