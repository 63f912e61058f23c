"""The commands that check an installation, a library and the weights, and repair what can be rebuilt."""

from typing import Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.diagnostics.findings import Finding
from longview.app.diagnostics.library_check import check as run_check
from longview.app.streams import Stream
from longview.app.text.counts import count_text


@command("json")
def check(
    context: Context,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild what can be rebuilt; damaged files are kept.")] = False,
    originals: Annotated[
        bool, typer.Option("--originals", help="Read all video files, and compare them with their content hashes.")
    ] = False,
) -> None:
    """Check database, vectors, caches, weights and video files; say what is broken, and repair it.

    Example: longview check --repair
    """
    stream = Stream(lambda progress: run_check(context.settings, repair=repair, hash_originals=originals, progress=progress))
    findings = context.follow(stream)
    unrepaired = [finding for finding in findings if finding.repaired is None]
    lines = []
    for number, finding in enumerate(findings):
        lines.append(f"{finding.area}: {finding.problem}")
        outcome = _outcome(finding)
        # Of several findings with the same outcome, it is printed once.
        if outcome and (number + 1 == len(findings) or outcome != _outcome(findings[number + 1])):
            lines.append(f"  {outcome}")
    lines.append(_summary(len(findings), len(unrepaired)))
    document = schemas.CheckDocument(is_intact=not unrepaired, findings=list(map(schemas.FindingOut.of, findings)))
    context.print_result(document, "\n".join(map(printable, lines)))
    if unrepaired:
        raise typer.Exit(1)


def _summary(count: int, broken_count: int) -> str:
    if not count:
        return "Nothing is broken."
    if not broken_count:
        return "The problem was repaired." if count == 1 else f"All {count:,} problems were repaired."
    return f"{count_text(broken_count, 'problem')} of {count:,} {'remains' if broken_count == 1 else 'remain'}."


def _outcome(finding: Finding) -> str:
    return f"Repaired. {finding.repaired}" if finding.repaired else finding.advice


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
