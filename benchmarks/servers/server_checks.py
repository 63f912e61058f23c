"""Checks of Longview against a model server that runs: its results, its prefix cache, and the estimate of `plan`.

Results are compared with those of the local engine. If a video is sent, they must be equal. If images are sent, they cannot be:
an image shows one instant, and the bundled checkpoint was trained on patches of two frames, so that what it says about motion
differs. What it sees, when, how often, and what it does not see must be the same, and its replies must be those of plain
transformers to the same images.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hardware.engine_checks import Finding
from benchmarks.robustness.longview_commands import Commands
from benchmarks.servers import server_results
from benchmarks.servers.model_servers import ModelServer
from benchmarks.servers.server_relay import ServerRelay
from benchmarks.servers.server_results import Captions, Occurrences, Reply, Video, render_video
from longview.app.service import Longview
from longview.app.settings import load_settings
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.remote.session import RemoteSession
from longview.model.training.questions import PROMPTS
from tests.support.hf_reference import HFReference

PROFILE = "demo"
MINUTE_S, FIVE_MINUTES_S = 60.0, 300.0
SEED, OTHER_SEED = 11, 12
LOCAL_OPTIONS = ("--model", "demo", "--precision", "float32")
MAX_DIFFERENCE_S = {"video": 0.5, "images": 1.0}
"""Maximum difference of a time from the local engine's, by what the frames are sent as: one step of the frames of a plan, and of
its images, each of which stands for two frames."""
MIN_CACHED_SHARE = 0.8
"""Minimum share of the second question's prompt that comes from the prefix cache, where the server has one."""
MAX_SECOND_SHARE = 0.5
"""Maximum time until the first text of the second answer, as a share of that of the first, where the server has a cache."""
MAX_REPLY_TOKENS = 400
MAX_ESTIMATE_ERROR = 0.05
"""Maximum difference of the prompt tokens that `plan` states from those that the server reports, as a share of the latter."""
COMPARISONS = {
    "video": (
        "Expected: the captions, occurrences and answers of the local engine, with times within "
        f"{MAX_DIFFERENCE_S['video']:.1f} s."
    ),
    "images": (
        "Expected: as many captions as from the local engine, each of the same coloured shape, with times within "
        f"{MAX_DIFFERENCE_S['images']:.1f} s; the same occurrences; answers about the same shape, and the same count. Motion is "
        "not compared, since an image shows one instant. In addition: the replies of plain transformers in float32 to the same "
        "images."
    ),
}
"""What is compared, by what the frames are sent as."""


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
    answers: dict[str, Reply]
    """By the questions."""


def make_reference(folder: Path) -> Reference:
    """Render the videos, and let the local engine caption, locate and answer.

    Raises:
        UnexpectedResult: it failed.
    """
    minute = render_video(folder / "minute.mp4", MINUTE_S, seed=SEED)
    five_minutes = render_video(folder / "five-minutes.mp4", FIVE_MINUTES_S, seed=SEED)
    commands = Commands(folder / "local", LOCAL_OPTIONS)
    return Reference(
        minute,
        five_minutes,
        {video.path.name: server_results.index(commands, video) for video in (minute, five_minutes)},
        {query: server_results.locate(commands, minute, query) for query in server_results.queries(minute)},
        {question: server_results.ask(commands, minute, question) for question in server_results.questions(minute)},
    )


def server_options(url: str, server: ModelServer) -> tuple[str, ...]:
    """Return the options of the command line that choose a server."""
    return "--server", url, "--model", server.kind.model, "--profile", PROFILE


def checks(server: ModelServer, input_kind: str, reference: Reference, library: Path) -> Iterator[Check]:
    """Yield the checks against a server, in an order in which later ones find the videos in the library."""
    commands = Commands(library, server_options(server.url, server))
    yield "doctor", lambda: check_doctor(commands, input_kind)
    yield "captions of a minute", lambda: check_captions(commands, input_kind, reference, reference.minute)
    yield "captions of five minutes", lambda: check_captions(commands, input_kind, reference, reference.five_minutes)
    yield "locate", lambda: check_locate(commands, input_kind, reference)
    yield "questions", lambda: check_answers(commands, input_kind, reference)
    yield "estimate of `plan`", lambda: check_estimate(server, reference, library)
    yield "second question", lambda: check_second_question(server, library)
    if input_kind == "images":
        yield "plain transformers", lambda: check_replies(server, reference, library)


def check_doctor(commands: Commands, input_kind: str) -> Finding:
    """Check that `doctor` has no problem with the server, and knows what it takes."""
    outcome = commands.run("doctor")
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


def check_captions(commands: Commands, input_kind: str, reference: Reference, video: Video) -> Finding:
    """Index a video, and compare its captions with the local engine's and with the truth."""
    local = reference.captions[video.path.name]
    captions = server_results.index(commands, video)
    agreement = server_results.compare(captions.items, local.items)
    true = server_results.compare(captions.items, server_results.truth(video))
    matching = agreement.equal if input_kind == "video" else agreement.same_subject
    is_right = matching == len(local.items) == len(captions.items) and agreement.max_difference_s <= MAX_DIFFERENCE_S[input_kind]
    figures = (
        f"{agreement.equal} of {len(local.items)} captions equal, {agreement.same_subject} with the same shape, times within "
        f"{agreement.max_difference_s:.1f} s; {true.equal} of {len(video.events)} events right; {captions.seconds:.1f} s, "
        f"locally {local.seconds:.1f} s"
    )
    return Finding(is_right, figures if is_right else f"{figures}; expected {local.describe()}, got {captions.describe()}")


def check_locate(commands: Commands, input_kind: str, reference: Reference) -> Finding:
    """Find what is and what is not in a video."""
    differences_s, wrong = [0.0], []
    for query, local in reference.occurrences.items():
        occurrences = server_results.locate(commands, reference.minute, query)
        pairs = list(zip(occurrences.spans, local.spans, strict=False))
        difference_s = max((abs(a - b) for span, other in pairs for a, b in zip(span, other, strict=True)), default=0.0)
        differences_s.append(difference_s)
        is_same = occurrences.found == local.found and len(occurrences.spans) == len(local.spans)
        if not is_same or difference_s > MAX_DIFFERENCE_S[input_kind]:
            wrong.append(f"{query}: expected {local.describe()}, got {occurrences.describe()}")
    count = len(reference.occurrences)
    figures = f"{count - len(wrong)} of {count} queries as the local engine, times within {max(differences_s):.1f} s"
    return Finding(not wrong, "; ".join([figures, *wrong]))


def check_answers(commands: Commands, input_kind: str, reference: Reference) -> Finding:
    """Ask the questions. Answers from images are compared without motion."""
    equal, same_subject, wrong = 0, 0, []
    for question, local in reference.answers.items():
        reply = server_results.ask(commands, reference.minute, question)
        is_equal = reply.text == local.text
        has_same_subject = server_results.subject(reply.text) == server_results.subject(local.text)
        equal, same_subject = equal + is_equal, same_subject + has_same_subject
        if not (is_equal if input_kind == "video" else has_same_subject):
            wrong.append(f"{question} expected {local.text!r}, got {reply.text!r}")
    count = len(reference.answers)
    figures = f"{equal} of {count} answers equal" + (f", {same_subject} of the same subject" if input_kind == "images" else "")
    return Finding(not wrong, "; ".join([figures, *wrong]))


def check_estimate(server: ModelServer, reference: Reference, library: Path) -> Finding:
    """Compare what `plan` states for a question with the tokens that the server reports, and with the bytes that are sent."""
    video, question = reference.minute, next(iter(reference.answers))
    with closing(ServerRelay(server.start.port)) as relay:
        commands = Commands(library, server_options(relay.url, server))
        cost = commands.read("plan", str(video.path))["frames"]["costs"]["ask"]
        before_bytes = relay.sent_bytes
        tokens = server_results.ask(commands, video, question).prompt_tokens
        sent_bytes = relay.sent_bytes - before_bytes
    figures = (
        f"{cost['prompt_tokens']:,} prompt tokens, {tokens:,} reported (ratio {cost['prompt_tokens'] / tokens:.2f}); "
        f"{cost['sent_bytes'] / 1e3:,.0f} kB, {sent_bytes / 1e3:,.0f} kB sent (ratio {cost['sent_bytes'] / sent_bytes:.1f})"
    )
    is_right = abs(cost["prompt_tokens"] - tokens) <= MAX_ESTIMATE_ERROR * tokens
    return Finding(is_right, figures if is_right else f"{figures}; expected tokens within {MAX_ESTIMATE_ERROR:.0%}")


@contextmanager
def open_session(server: ModelServer, video: Video, library: Path) -> Iterator[RemoteSession]:
    """Yield a session of the first window of a video, as a question about it opens one."""
    app = Longview(load_settings(library=library, server=server.url, model=server.kind.model, profile=PROFILE))
    with closing(app.parts.decoder):
        info = app.parts.decoder.probe(video.path)
        plan = app.parts.runtime.pool.planner.plan(info, "qa")
        session = app.parts.runtime.pool.session(info, plan, plan.windows[0])
        assert isinstance(session, RemoteSession)
        yield session


def check_second_question(server: ModelServer, library: Path) -> Finding:
    """Ask two questions in one session, and compare the times until their first text."""
    # A video of its own: the server may have that of the other checks in its cache.
    video = render_video(library.with_name("questions.mp4"), MINUTE_S, seed=OTHER_SEED)
    times_s, tokens = [], []
    with open_session(server, video, library) as session:
        for question in ("What happens at 3.0 seconds?", "What happens at 44.0 seconds?"):
            before = server.prompt_tokens()
            start_s = time.perf_counter()
            # Before the first reply, another request may prove that the model reads the frames.
            pieces = iter(session.generate(question, max_new_tokens=MAX_REPLY_TOKENS))
            next(pieces)
            times_s.append(time.perf_counter() - start_s)
            list(pieces)
            if before and (after := server.prompt_tokens()):
                tokens.append((after[0] - before[0], after[1] - before[1]))
    share = times_s[1] / times_s[0]
    figures = f"first text after {times_s[0]:.2f} s, then {times_s[1]:.2f} s ({share:.0%})"
    if not tokens:
        return Finding(True, f"{figures}; the server has no prefix cache")
    counts = ", then ".join(f"{cached:,} of {total:,}" for total, cached in tokens)
    total, cached = tokens[1]
    is_right = 0 < MIN_CACHED_SHARE * total <= cached and share <= MAX_SECOND_SHARE
    expected = f"; expected {MIN_CACHED_SHARE:.0%} of the second prompt, and at most {MAX_SECOND_SHARE:.0%} of the time"
    return Finding(is_right, f"{figures}; prompt tokens from the cache: {counts}" + ("" if is_right else expected))


def check_replies(server: ModelServer, reference: Reference, library: Path) -> Finding:
    """Compare replies with those of plain transformers to the same images."""
    questions, differences = (PROMPTS.dense_captions, *reference.answers), []
    plain = HFReference(DEMO)
    with open_session(server, reference.minute, library) as session:
        # Before the first reply: frames that the server has are not sent again.
        bodies = [session.adapter.body(session.conversation(question, MAX_REPLY_TOKENS)) for question in questions]
        for question, body in zip(questions, bodies, strict=True):
            (message,) = body["messages"]
            expected = plain.reply_to_images(message["content"], max_new_tokens=MAX_REPLY_TOKENS)
            reply = "".join(session.generate(question, max_new_tokens=MAX_REPLY_TOKENS))
            if reply != expected:
                differences.append(f"{question} expected {expected!r}, got {reply!r}")
    equal = len(questions) - len(differences)
    return Finding(not differences, "; ".join([f"{equal} of {len(questions)} replies equal", *differences]))
