"""Checks of what Longview says and keeps when a server is killed in the middle of a reply, and when its context is too small."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.hardware.engine_checks import Finding
from benchmarks.robustness.longview_commands import Commands, Outcome
from benchmarks.servers import server_results
from benchmarks.servers.model_servers import CONTEXT_TOKENS, ModelServer, ServerKind, Start, free_port, running
from benchmarks.servers.server_checks import FIVE_MINUTES_S, Check, Reference, server_options
from benchmarks.servers.server_relay import ReplyRelay, ServerRelay

SMALL_CONTEXTS = (3072, 1024)
"""Lengths of a context in which a smaller plan fits, and none, in tokens: 2,048 are reserved for the question and the reply."""
HIDDEN_CONTEXT = 4096
"""Length of a context of which a gateway does not tell, in tokens."""
QUESTION = "How many events are in the video?"
"""A question that needs the whole video."""
SMALLER_PLAN = re.compile(r"Longview now plans [^.]*\.")
"""What Longview says when it plans for a shorter context."""
KILLED_REPLIES, KILLED_EVENT = 16, 8
"""Number of whole replies before the one in which the server is killed, and the event of that one. Replies to short requests,
with which Longview finds out what a server takes, have fewer events."""


def checks(kind: ServerKind, environment: Path, start: Start, reference: Reference, folder: Path) -> Iterator[Check]:
    """Yield the checks. Each starts a server of its own."""
    yield "killed during captions", lambda: check_killed_index(kind, environment, start, reference, folder / "killed")
    yield "killed during locate", lambda: check_killed_locate(kind, environment, start, reference, folder / "killed-locate")
    if kind.context_setting:
        for tokens in SMALL_CONTEXTS:
            small, library = replace(start, port=free_port(), context_tokens=tokens), folder / f"context-{tokens}"
            yield f"context of {tokens:,} tokens", partial(check_context, kind, environment, small, reference, library)
        hidden = replace(start, port=free_port(), context_tokens=HIDDEN_CONTEXT)
        name = f"hidden context of {HIDDEN_CONTEXT:,} tokens"
        yield name, lambda: check_hidden_context(kind, environment, hidden, reference, folder / "context-hidden")


def check_killed_index(kind: ServerKind, environment: Path, start: Start, reference: Reference, library: Path) -> Finding:
    """Kill the server during the captions of a video, and index the video again with a new server."""
    video = reference.five_minutes
    with running(kind, environment, start) as server:
        outcome = _run_and_kill(server, KILLED_REPLIES, library, "index", str(video.path), "--sources", "captions")
    if problem := _problem(outcome):
        return Finding(False, problem)
    # Reading the library needs no server.
    commands = Commands(library, server_options(server.url, server))
    status = server_results.caption_status(commands, video)
    # A video that is not in the library would be indexed first.
    stored_captions = () if status == "none" else server_results.stored_captions(commands, video)
    if status == "complete":
        return Finding(
            False, f"expected captions that are incomplete, got {status} ones up to {max(c.end_s for c in stored_captions):.0f} s"
        )
    with running(kind, environment, replace(start, port=free_port())) as server:
        again = server_results.index(Commands(library, server_options(server.url, server)), video)
    whole = len(reference.captions[video.path.name].items)
    figures = (
        f"“{outcome.error}” {len(stored_captions)} captions kept ({status}); {len(again.items)} of {whole} after a second `index`"
    )
    return Finding(len(again.items) == whole, figures)


def check_killed_locate(kind: ServerKind, environment: Path, start: Start, reference: Reference, library: Path) -> Finding:
    """Kill the server while `locate` reads a reply, and look whether the query is then called absent."""
    query = next(iter(reference.occurrences))
    minute = str(reference.minute.path)
    with running(kind, environment, start) as server:
        server_results.index(Commands(library, server_options(server.url, server)), reference.minute)
        outcome = _run_and_kill(server, 0, library, "locate", minute, query)
    problem = _problem(outcome)
    return Finding(not problem, problem or f"“{outcome.error}”")


def _run_and_kill(server: ModelServer, replies: int, library: Path, *words: str) -> Outcome:
    """Run a command, and kill the server in the middle of a reply.

    Raises:
        RuntimeError: the command ended before.
    """
    with closing(ReplyRelay(server.start.port, replies=replies, event=KILLED_EVENT, act=server.kill)) as relay:
        outcome = Commands(library, server_options(relay.url, server)).run(*words)
    if not relay.has_acted:
        raise RuntimeError(f"`{words[0]}` ended before a reply had {KILLED_EVENT} events: {outcome.error or outcome.document}")
    return outcome


def _problem(outcome: Outcome) -> str:
    """Return what is wrong with the end of a command whose server was killed; empty if it failed with a clear error."""
    if not outcome.status:
        return f"expected an error, got exit status 0: {outcome.document}"
    is_clear = "server" in outcome.error and "unexpected" not in outcome.error and "Traceback" not in outcome.message
    return "" if is_clear else f"expected an error that names the server, got: {outcome.error}"


def check_context(kind: ServerKind, environment: Path, start: Start, reference: Reference, library: Path) -> Finding:
    """Use a server with too small a context: plans must fit it, or the error must name its setting."""
    assert kind.context_setting
    video, query = reference.minute, next(iter(reference.occurrences))
    with running(kind, environment, start) as server:
        commands = Commands(library, server_options(server.url, server))
        outcome = commands.run("index", str(video.path), "--sources", "captions")
        if outcome.status:
            # Without captions, `locate` would index the video first, and fail alike.
            is_right = kind.context_setting in outcome.error
            expected = "" if is_right else f"; expected an error that names {kind.context_setting}"
            return Finding(is_right, f"“{outcome.error}”{expected}")
        captions = server_results.stored_captions(commands, video)
        location = commands.run("locate", str(video.path), query)
    true = server_results.compare(captions, server_results.truth(video))
    figures = f"{true.same_subject} of {len(video.events)} events captioned, `locate` {query}: "
    if location.status:
        return Finding(kind.context_setting in location.error, f"{figures}“{location.error}”")
    is_right = bool(location.document["found"]) and true.same_subject * 2 > len(video.events)
    return Finding(
        is_right,
        f"{figures}found {location.document['found']}" + ("" if is_right else "; expected most events, and true"),
    )


def check_hidden_context(kind: ServerKind, environment: Path, start: Start, reference: Reference, library: Path) -> Finding:
    """Use a server through a gateway that hides its context, which is shorter than Longview was told.

    A question about five minutes exceeds it: Longview must say so, plan smaller, and answer from the whole video.
    """
    video = reference.five_minutes
    settings = (("LONGVIEW_CONTEXT_TOKENS", str(CONTEXT_TOKENS)),)
    with (
        running(kind, environment, start) as server,
        closing(ServerRelay(start.port, hidden_fields=[kind.context_field])) as relay,
    ):
        commands = Commands(library, server_options(relay.url, server), settings)
        captions = server_results.index(commands, video).items
        outcome = commands.run("ask", str(video.path), QUESTION)
    true = server_results.compare(captions, server_results.truth(video))
    figures = f"{true.same_subject} of {len(video.events)} events captioned"
    if outcome.status:
        return Finding(False, f"{figures}; expected an answer, got “{outcome.error}”")
    announcement = SMALLER_PLAN.search(outcome.message)
    coverage = outcome.document["coverage"]
    figures += (
        f"; “{announcement[0] if announcement else outcome.message}”; a question then has {coverage['prompt_tokens']:,} prompt "
        f"tokens for {coverage['frames']} frames of {coverage['seconds']:.0f} s"
    )
    is_whole = coverage["seconds"] >= FIVE_MINUTES_S and 0 < coverage["prompt_tokens"] < HIDDEN_CONTEXT
    is_right = bool(announcement) and is_whole and true.same_subject * 2 > len(video.events)
    return Finding(is_right, figures if is_right else f"{figures}; expected a smaller plan for all of it, said aloud")
