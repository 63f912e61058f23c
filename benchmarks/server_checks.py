"""Checks of Longview against a model server that runs: its results against those of the local engine, and its prefix cache."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import server_results
from benchmarks.engine_checks import Finding
from benchmarks.longview_verbs import Verbs
from benchmarks.model_servers import ModelServer
from benchmarks.server_results import Captions, Occurrences, Video, render_video
from longview.app.service import Longview
from longview.app.settings import load_settings

PROFILE = "demo"
MINUTE_S, FIVE_MINUTES_S = 60.0, 300.0
SEED, OTHER_SEED = 11, 12
LOCAL_OPTIONS = ("--model", "demo", "--precision", "float32")
MAX_DIFFERENCE_S = {"video": 0.5, "images": 1.0}
"""Maximum difference of a time from the local engine's, by what the frames are sent as: one step of the frames of a plan, and of
its images, each of which stands for two frames."""
MAX_REPLY_TOKENS = 64
MIN_CACHED_SHARE = 0.8
"""Minimum share of the second question's prompt that comes from the prefix cache, where the server has one."""


Check = tuple[str, Callable[[], Finding]]
"""The name of a check, and the function that does it. It may raise `UnexpectedResult` as well."""


@dataclass(frozen=True)
class Reference:
    """The results of the local engine on two videos of a minute and of five minutes."""

    minute: Video
    five_minutes: Video
    captions: dict[str, Captions]
    """By the names of the files."""
    occurrences: dict[str, Occurrences]
    """By the queries."""
    answers: dict[str, str]
    """By the questions."""


def make_reference(folder: Path) -> Reference:
    """Render the videos, and let the local engine caption, locate and answer.

    Raises:
        UnexpectedResult: it failed.
    """
    minute = render_video(folder / "minute.mp4", MINUTE_S, seed=SEED)
    five_minutes = render_video(folder / "five-minutes.mp4", FIVE_MINUTES_S, seed=SEED)
    verbs = Verbs(folder / "local", LOCAL_OPTIONS)
    return Reference(
        minute,
        five_minutes,
        {video.path.name: server_results.index(verbs, video) for video in (minute, five_minutes)},
        {query: server_results.locate(verbs, minute, query) for query in server_results.queries(minute)},
        {question: server_results.ask(verbs, minute, question) for question in server_results.questions(minute)},
    )


def server_options(url: str, server: ModelServer) -> tuple[str, ...]:
    """Return the options of the command line that choose a server."""
    return "--server", url, "--model", server.kind.model, "--profile", PROFILE


def checks(server: ModelServer, input_kind: str, reference: Reference, library: Path) -> Iterator[Check]:
    """Yield the checks against a server, in an order in which later ones find the videos in the library."""
    verbs = Verbs(library, server_options(server.url, server))
    yield "doctor", lambda: check_doctor(verbs, input_kind)
    yield "captions of a minute", lambda: check_captions(verbs, input_kind, reference, reference.minute)
    yield "captions of five minutes", lambda: check_captions(verbs, input_kind, reference, reference.five_minutes)
    yield "locate", lambda: check_locate(verbs, input_kind, reference)
    yield "questions", lambda: check_answers(verbs, input_kind, reference)
    yield "second question", lambda: check_second_question(server, library)


def check_doctor(verbs: Verbs, input_kind: str) -> Finding:
    """Check that `doctor` has no problem with the server, and knows what it takes."""
    outcome = verbs.run("doctor")
    document = outcome.document
    says = "; ".join(
        [
            str(document.get("server_software")),
            f"{document.get('server_context_tokens')} tokens",
            str(document.get("server_input")),
            *document.get("problems", []),
            *document.get("server_notes", []),
        ]
    )
    knows_input = input_kind in str(document.get("server_input"))
    if outcome.status or not knows_input:
        return Finding(False, f"expected exit status 0 and {input_kind}, got {outcome.status}: {says or outcome.error}")
    return Finding(True, says)


def check_captions(verbs: Verbs, input_kind: str, reference: Reference, video: Video) -> Finding:
    """Index a video, and compare its captions with the local engine's and with the truth."""
    local = reference.captions[video.path.name]
    served = server_results.index(verbs, video)
    agreement = server_results.compare(served.items, local.items)
    true = server_results.compare(served.items, server_results.truth(video))
    matching = agreement.equal if input_kind == "video" else agreement.same_subject
    is_right = matching == len(local.items) == len(served.items) and agreement.max_difference_s <= MAX_DIFFERENCE_S[input_kind]
    figures = (
        f"{agreement.equal} of {len(local.items)} captions equal, {agreement.same_subject} with the same shape, times within "
        f"{agreement.max_difference_s:.1f} s; {true.equal} of {len(video.events)} events right; {served.seconds:.1f} s, locally "
        f"{local.seconds:.1f} s"
    )
    return Finding(is_right, figures if is_right else f"{figures}; expected {local.describe()}, got {served.describe()}")


def check_locate(verbs: Verbs, input_kind: str, reference: Reference) -> Finding:
    """Find what is and what is not in a video."""
    differences_s, wrong = [0.0], []
    for query, local in reference.occurrences.items():
        served = server_results.locate(verbs, reference.minute, query)
        pairs = list(zip(served.spans, local.spans, strict=False))
        difference_s = max((abs(a - b) for span, other in pairs for a, b in zip(span, other, strict=True)), default=0.0)
        differences_s.append(difference_s)
        is_same = served.found == local.found and len(served.spans) == len(local.spans)
        if not is_same or difference_s > MAX_DIFFERENCE_S[input_kind]:
            wrong.append(f"{query}: expected {local.describe()}, got {served.describe()}")
    count = len(reference.occurrences)
    figures = f"{count - len(wrong)} of {count} queries as the local engine, times within {max(differences_s):.1f} s"
    return Finding(not wrong, "; ".join([figures, *wrong]))


def check_answers(verbs: Verbs, input_kind: str, reference: Reference) -> Finding:
    """Ask the questions. Motion may be missing in the answers where frames are sent as images."""
    equal, wrong = 0, []
    for question, local in reference.answers.items():
        served = server_results.ask(verbs, reference.minute, question)
        equal += served == local
        if served != local:
            wrong.append(f"{question} expected {local!r}, got {served!r}")
    is_right = not wrong or (input_kind == "images" and equal > 0)
    return Finding(is_right, "; ".join([f"{equal} of {len(reference.answers)} answers equal", *wrong]))


def check_second_question(server: ModelServer, library: Path) -> Finding:
    """Ask two questions in one session, and compare the times until their first tokens."""
    # A video of its own: the server may have that of the other checks in its cache.
    video = render_video(library.with_name("questions.mp4"), MINUTE_S, seed=OTHER_SEED)
    settings = load_settings(library=library, server=server.url, model=server.kind.model, profile=PROFILE)
    app = Longview(settings)
    with closing(app.decoder):
        info = app.decoder.probe(video.path)
        plan = app.pool.planner.plan(info, "qa")
        session = app.pool.session(info, plan, plan.windows[0])
        times_s, tokens = [], []
        for question in ("What happens at 3.0 seconds?", "What happens at 44.0 seconds?"):
            before = server.prompt_tokens()
            generation = session.generate(question, max_new_tokens=MAX_REPLY_TOKENS)
            list(generation)
            times_s.append(generation.first_token_s)
            if before and (after := server.prompt_tokens()):
                tokens.append((after[0] - before[0], after[1] - before[1]))
    figures = f"first token after {times_s[0]:.2f} s, then {times_s[1]:.2f} s"
    if not tokens:
        return Finding(True, f"{figures}; the server publishes no prefix cache")
    counts = ", ".join(f"{cached:,} of {total:,}" for total, cached in tokens)
    is_right = tokens[1][1] >= MIN_CACHED_SHARE * tokens[1][0]
    expected = "" if is_right else f"; expected {MIN_CACHED_SHARE:.0%} of the second prompt"
    return Finding(is_right, f"{figures}; prompt tokens from the cache: {counts}{expected}")
