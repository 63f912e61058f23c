"""Checks of the engine on its device: against plain transformers, against itself, and when memory is short.

Each check returns its result with figures. `benchmarks.hardware.check_gpu` runs them with random weights,
`benchmarks.hardware.check_real` with the weights of a checkpoint, and the tests on the CPU and, where they are marked `gpu`, on
a card.
"""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch

from benchmarks.check_report import Row, check_row, failure_row, number
from benchmarks.check_steps import describe
from longview.core.progress import NO_PROGRESS
from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.chat_template import THINKING_SWITCH
from longview.model.engine.execution import cuda_graph, frame_batches
from longview.model.engine.execution.cuda_graph import MIN_EAGER_STEPS
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession, SessionEngine
from longview.video.decoding.decoder import TimedFrames
from longview.video.sampling_plan import FRAMES_PER_PATCH, PATCH_SIDE_PX
from tests.support.hf_reference import HFReference, plain_transformers

QUESTIONS = ("What happens at 2.5 seconds?", "How many events are in the video?", "What happens at 0.5 seconds?")
CHUNK_PATCHES = (1, 3, 8)
"""Sizes of the chunks of a prefill, in temporal patches."""
MAX_DIFFERENCE = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Maximum difference of logits, in standard deviations of the logits. bfloat16 has eight bits of mantissa, and its rounding
errors add up over the layers. float32 differs by the order of sums."""
MAX_ERROR_RATIO = 2.0
"""Maximum error of the engine in bfloat16, relative to that of transformers in bfloat16. Both are root mean squares of the
distance from float32. Random weights amplify rounding, so that no fixed limit would suit all layouts."""
REPLY_TOKENS = 24
ROUNDS = 4
"""Number of times that two sessions record their graphs at once."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    is_right: bool
    figures: str


def check_rows(checks: Iterable[tuple[str, Callable[[], Finding]]]) -> Iterator[Row]:
    """Run checks in this process. The failure of one is a row, and the others still run."""
    for name, check in checks:
        try:
            finding = check()
            yield check_row(name, finding.is_right, finding.figures)
        except Exception as error:
            # An error of CUDA fails all later checks of this process, too: their rows then have the same reason.
            yield failure_row(name, describe(error), columns=3)


def random_frames(frames: int = 20, height: int = 64, width: int = 96) -> TimedFrames:
    """Make frames of noise at uneven times."""
    rng = np.random.default_rng(frames * height)
    times_s = np.cumsum(rng.uniform(0.1, 0.9, frames))
    return TimedFrames(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), times_s)


def open_session(engine: LocalEngine, video: TimedFrames) -> LocalSession:
    """Open a session of all frames, with room for a reply."""
    visual = (len(video) + 1) // FRAMES_PER_PATCH * _tokens_per_patch(video)
    return engine.open_session(
        [video], WindowRequest(Span(0.0, float(video.times_s[-1]) + 1.0), capacity_tokens=visual + 32 * len(video) + 512)
    )


@dataclass(frozen=True)
class Comparison:
    """The engine and transformers, for one question."""

    has_same_tokens: bool
    """Whether both have the same prompt."""
    prompt_tokens: int
    difference: float
    """Maximum difference of the first logits, in standard deviations of the logits."""
    common_tokens: int
    """Length of the common beginning of the greedy replies, in tokens."""
    reply_tokens: int

    @property
    def has_same_reply(self) -> bool:
        """Whether the greedy replies are equal."""
        return self.common_tokens == self.reply_tokens

    @property
    def reply(self) -> str:
        """Description of the replies."""
        return "same reply" if self.has_same_reply else f"same for {self.common_tokens} of {self.reply_tokens} tokens"


def compare_with_transformers(
    session: LocalSession, video: TimedFrames, question: str, *, reply_tokens: int = REPLY_TOKENS
) -> Comparison:
    """Compare prompt, first logits and greedy reply of a session with those of plain transformers and the same weights."""
    engine = session.engine
    reference = plain_reference(engine)
    with plain_transformers(engine.model), torch.inference_mode():
        inputs = reference.inputs(video, question)
        expected_logits = reference.logits(video, question).float()
        output = engine.model.generate(**inputs, do_sample=False, max_new_tokens=reply_tokens)
    expected = output[0, inputs["input_ids"].shape[1] :].tolist()
    ids = torch.cat([session.prefix_ids, engine.question_ids(question).cpu()], dim=1)
    tokens = greedy_reply(session, question, reply_tokens)
    return Comparison(
        has_same_tokens=torch.equal(ids, inputs["input_ids"].cpu()),
        prompt_tokens=ids.shape[1],
        difference=difference(session.first_logits(question), expected_logits),
        common_tokens=common_length(tokens, expected),
        reply_tokens=max(len(tokens), len(expected)),
    )


def plain_reference(engine: SessionEngine) -> HFReference:
    """Wrap the model of an engine. Prompts do not open thoughts, where the template has a switch for them."""
    # transformers warns of a variable that the template does not name.
    switch = {THINKING_SWITCH: False} if THINKING_SWITCH in str(engine.processor.chat_template) else {}
    return HFReference.from_loaded(engine.processor, engine.model, **switch)


def check_exact_float32(engine: LocalEngine) -> Finding:
    """Compare a model in float32 with transformers: chunks of several sizes, questions in turn."""
    video, comparisons = random_frames(), []
    for patches in CHUNK_PATCHES:
        with chunks_of(engine, video, patches):
            session = open_session(engine, video)
        comparisons += [compare_with_transformers(session, video, question) for question in (*QUESTIONS, QUESTIONS[0])]
    largest = max(comparison.difference for comparison in comparisons)
    same = sum(comparison.has_same_reply for comparison in comparisons)
    is_right = same == len(comparisons) and all(comparison.has_same_tokens for comparison in comparisons)
    figures = f"logits differ by {number(largest)} std at most (limit {MAX_DIFFERENCE[torch.float32]:g})"
    # Not `>`, because a difference may be NaN.
    is_right = is_right and largest <= MAX_DIFFERENCE[torch.float32]
    return Finding(is_right, f"{figures}, {same} of {len(comparisons)} replies of {REPLY_TOKENS} tokens are the same")


def logits_of_engine(engine: LocalEngine) -> torch.Tensor:
    """Return the first logits of the engine, float32 (chunk sizes x questions, vocabulary)."""
    video, rows = random_frames(), []
    for patches in CHUNK_PATCHES:
        with chunks_of(engine, video, patches):
            session = open_session(engine, video)
        rows += [session.first_logits(question).float() for question in QUESTIONS]
    return torch.stack(rows)


def logits_of_transformers(engine: LocalEngine) -> torch.Tensor:
    """Return the first logits of plain transformers, in the order of `logits_of_engine`."""
    reference = plain_reference(engine)
    with plain_transformers(engine.model):
        rows = [reference.logits(random_frames(), question).float() for question in QUESTIONS]
    return torch.stack(rows * len(CHUNK_PATCHES))


def compare_rounding(logits: torch.Tensor, plain: torch.Tensor, truth: torch.Tensor) -> Finding:
    """Compare the errors of two computations in bfloat16 with each other. `truth`: the same in float32."""
    error, plain_error = ((values - truth).square().mean().sqrt() / truth.std() for values in (logits, plain))
    ratio = float(error / plain_error)
    figures = f"error {number(float(error))} std, that of the other {number(float(plain_error))}"
    return Finding(ratio <= MAX_ERROR_RATIO, f"{figures}: ratio {ratio:.2f} (limit {MAX_ERROR_RATIO:g})")


def check_graph_steps(engine: LocalEngine, video: TimedFrames) -> Finding:
    """Compare decoding by a CUDA graph with eager steps for the same tokens; on a CPU, steps of fixed shape are compared.

    float32: with the steps that run without a graph. Their sums have another order, which bfloat16 would round differently;
    there the graph is compared with eager steps of the same shapes. The graph runs twice: it is captured in the first reply, and
    replayed from the start in the second one.
    """
    session = open_session(engine, video)
    # A short reply would end before a graph is captured.
    tokens = (greedy_reply(session) * REPLY_TOKENS)[:REPLY_TOKENS]
    has_fixed_shape = engine.model.dtype != torch.float32
    with steps_of_fixed_shape(engine, has_fixed_shape), mock.patch.object(cuda_graph, "MIN_EAGER_STEPS", sys.maxsize):
        session.cache.decoder = None
        eager = logits_of_steps(session, tokens)
    with steps_of_fixed_shape(engine, True):
        largest = max(difference(logits_of_steps(session, tokens), eager) for _ in range(2))
    limit = MAX_DIFFERENCE[engine.model.dtype]
    is_captured = has_graph(session)
    state = "captured" if is_captured else "eager steps of fixed shape" if engine.device != "cuda" else "NOT captured"
    is_right = largest <= limit and (is_captured or engine.device != "cuda")
    return Finding(is_right, f"{state}; logits of {len(tokens)} steps differ by {number(largest)} std at most (limit {limit:g})")


def check_two_recordings(engine: LocalEngine, video: TimedFrames) -> Finding:
    """Decode from two sessions in two threads, so that both record their graphs at the same time."""
    captured_count = same = 0
    with steps_of_fixed_shape(engine, True):
        expected = greedy_reply(open_session(engine, video))
        steps = (expected * REPLY_TOKENS)[: MIN_EAGER_STEPS + 4]
        for _ in range(ROUNDS):
            sessions = [open_session(engine, video) for _ in range(2)]
            start = threading.Barrier(2)

            def decode(session: LocalSession, start: threading.Barrier = start) -> list[int]:
                start.wait()
                logits_of_steps(session, steps)
                return greedy_reply(session)

            with ThreadPoolExecutor(2) as threads:
                same += sum(reply == expected for reply in threads.map(decode, sessions))
            captured_count += sum(map(has_graph, sessions))
    total = 2 * ROUNDS
    # In bfloat16 two equally likely tokens may change places.
    is_right = (same == total or engine.model.dtype != torch.float32) and (captured_count == total or engine.device != "cuda")
    return Finding(is_right, f"{captured_count} of {total} sessions captured a graph, {same} of {total} replies are the same")


def check_offload(engine: LocalEngine, video: TimedFrames) -> Finding:
    """Move a session to the host and back between two equal questions."""
    session = open_session(engine, video)
    before = greedy_reply(session)
    device_bytes = _allocated_bytes(engine)
    start = time.perf_counter()
    session.offload()
    offload_s = time.perf_counter() - start
    freed_bytes = device_bytes - _allocated_bytes(engine)
    same = greedy_reply(session) == before
    # The decoder and its graph are freed as well.
    is_freed = engine.device != "cuda" or freed_bytes >= session.size_bytes
    figures = f"{'same' if same else 'ANOTHER'} reply, {session.size_bytes / 1e6:.1f} MB in {offload_s:.3f} s"
    return Finding(same and is_freed, figures + (f", {freed_bytes / 1e6:.1f} MB freed" if engine.device == "cuda" else ""))


def greedy_reply(session: LocalSession, question: str = QUESTIONS[0], count: int = REPLY_TOKENS) -> list[int]:
    """Return the first tokens of a greedy reply. Those of a checkpoint that thinks are thoughts."""
    return list(itertools.islice(session.tokens(question, GenerationConfig(count, max_thinking_tokens=count)), count))


def logits_of_steps(session: LocalSession, tokens: Sequence[int]) -> torch.Tensor:
    """Return the logits, float32 (steps, vocabulary) on the CPU, of a reply that consists of given tokens."""
    engine = session.engine
    with session._prepare("", NO_PROGRESS) as cache:
        cache.next_logits(engine.question_ids(QUESTIONS[0]), uses_cuda_graph=engine.uses_cuda_graph)
        rows = []
        for token in tokens:
            ids = torch.tensor([[token]], device=engine.model.device)
            # The logits of a graph are overwritten by the next step.
            rows.append(cache.next_logits(ids, uses_cuda_graph=engine.uses_cuda_graph).float().cpu())
    return torch.stack(rows)


def has_graph(session: LocalSession) -> bool:
    """Whether a session decodes by a captured CUDA graph."""
    return session.cache.decoder is not None and session.cache.decoder._graph is not None


def difference(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the maximum difference of logits, in standard deviations of the logits."""
    return float((logits.float() - expected.float()).abs().max() / expected.float().std())


def common_length(tokens: Sequence[int], expected: Sequence[int]) -> int:
    """Return the length of the common beginning of two replies."""
    pairs = enumerate(zip(tokens, expected, strict=False))
    return next((index for index, (ours, theirs) in pairs if ours != theirs), min(len(tokens), len(expected)))


def chunks_of(engine: LocalEngine, video: TimedFrames, patches: int) -> "mock._patch_dict":
    """Prefill at most `patches` temporal patches at once, within a `with` statement."""
    return mock.patch.dict(frame_batches.CHUNK_TOKENS, {engine.device: patches * _tokens_per_patch(video)})


def steps_of_fixed_shape(engine: LocalEngine, is_fixed: bool) -> "mock._patch[bool]":
    """Decode in steps of fixed shape, on a GPU as a graph, or eagerly, within a `with` statement."""
    return mock.patch.object(engine, "uses_cuda_graph", is_fixed)


def _tokens_per_patch(video: TimedFrames) -> int:
    return video.frames.shape[1] * video.frames.shape[2] // PATCH_SIDE_PX**2


def _allocated_bytes(engine: LocalEngine) -> int:
    if engine.device != "cuda":
        return 0
    return sum(torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count()))
