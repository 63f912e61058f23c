"""Tests that no reply of a server is believed unless its model has read the whole prompt, and that plans follow what it takes."""

from pathlib import Path
from typing import Any

import pytest

from longview.core.timeline import Span
from longview.model.engine.base import REPLY_RESERVE_TOKENS, WindowRequest
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.facts import SAFE_CONTEXT_TOKENS, ServerFacts
from longview.model.engine.remote.limits import PromptLimits
from longview.model.engine.remote.server import Server
from longview.model.engine.sessions import SessionPool
from longview.model.errors import PromptTooLong, ServerFailed
from longview.model.tasks.verifier import FreeFormVerifier
from longview.video.decoding.decoder import Decoder
from longview.video.errors import ContextTooShort
from longview.video.probing.probe import VideoInfo
from tests.support.fakes import real_checkpoint
from tests.support.scripted_server import BLACK, VLLM, Script, count_tokens, frames_of, streams
from tests.support.shell import Shell

OLLAMA = {
    "version": "0.33.0",
    "tags": {"models": [{"name": "m", "digest": "abc123", "capabilities": ["completion", "vision"]}]},
}


def open_pool(script: Script, decoder: Decoder, **settings: Any) -> SessionPool:
    return SessionPool(RemoteEngine(Server(script.url, "m", **settings)), decoder)


@pytest.mark.parametrize("reply", ["[]", '[{"start": 1.0, "end": 2.0}]', "No."])
def test_reply_to_a_cut_prompt_is_an_error_that_names_the_setting(
    script: Script, decoder: Decoder, shapes_video: VideoInfo, reply: str
) -> None:
    script.models = [VLLM]
    pool = open_pool(script, decoder)
    plan = pool.planner.plan(shapes_video)
    session = pool.session(shapes_video, plan, plan.windows[0])
    script.cut_tokens = 900
    script.responses = [streams(reply)]
    with pytest.raises(ServerFailed, match="read 900 tokens of a prompt of at least .*--max-model-len"):
        list(session.generate("Where?", max_new_tokens=50))
    # A no that comes early is no answer either.
    script.responses = [streams("No.", " I see nothing of that.")]
    with pytest.raises(ServerFailed, match="the model has not seen all frames"):
        FreeFormVerifier().verify(session, Span(0, 5), "a dog")


def test_reported_tokens_are_those_of_the_plan(script: Script, decoder: Decoder, shapes_video: VideoInfo) -> None:
    for models, is_video in (([VLLM], True), ([], False)):
        script.models, script.media = models, {}
        pool = open_pool(script, decoder)
        plan = pool.planner.plan(shapes_video)
        session = pool.session(shapes_video, plan, plan.windows[0])
        script.responses = [streams("Yes.")]
        list(session.generate("Where?", max_new_tokens=50))
        # The scripted server counts text by other rules than Qwen's tokenizer.
        assert session.prompt_tokens == pytest.approx(pool.engine.prefix_tokens(plan), rel=0.1)
        assert session.frames == len(plan.windows[0].times_s)
        assert pool.engine.facts.takes_video is is_video  # type: ignore[attr-defined]


def test_count_that_does_not_grow_with_the_frames_is_no_proof(script: Script) -> None:
    script.cut_tokens = 20
    with pytest.raises(ServerFailed, match="does not show the model all frames. Its context may be too short"):
        RemoteEngine(Server(script.url, "m"))


def test_context_without_room_for_frames_is_an_error_that_names_the_setting(
    script: Script, decoder: Decoder, shapes_video: VideoInfo
) -> None:
    script.models = [VLLM | {"max_model_len": 1024}]
    pool = open_pool(script, decoder)
    with pytest.raises(ContextTooShort, match="context of 1024 tokens is too small.*change --max-model-len of vllm serve"):
        pool.planner.plan(shapes_video)


def test_server_that_drops_every_image_is_refused(script: Script) -> None:
    # Its number still grows, by the timestamps.
    script.shows_images = False
    with pytest.raises(ServerFailed, match="Or the model does not take images"):
        RemoteEngine(Server(script.url, "m"))


def test_server_that_reports_no_tokens_is_refused(script: Script) -> None:
    script.reports_tokens = False
    with pytest.raises(ServerFailed, match="does not report how many tokens"):
        RemoteEngine(Server(script.url, "m"))


def test_plans_follow_a_server_that_enlarges_images(script: Script, decoder: Decoder, shapes_video: VideoInfo) -> None:
    script.min_image_tokens = 1024
    pool = open_pool(script, decoder, context_tokens=32_768)
    assert pool.engine.checkpoint.trained_range.min_tokens_per_patch >= 1024
    plan = pool.planner.plan(shapes_video)
    session = pool.session(shapes_video, plan, plan.windows[0])
    script.responses = [streams("Yes.")]
    list(session.generate("Where?", max_new_tokens=50))
    assert plan.tokens_per_patch >= 1000 and session.prompt_tokens < 32_768


def test_plans_follow_a_server_that_enlarges_only_the_smallest_images(script: Script) -> None:
    # A square of the smallest size of the bundled checkpoint, six tokens, would have nine.
    script.min_image_tokens = 9
    engine = RemoteEngine(Server(script.url, "m", profile="demo"))
    assert engine.checkpoint.trained_range.min_tokens_per_patch >= 8


def test_plans_follow_a_model_whose_frames_cost_more(script: Script, decoder: Decoder, shapes_video: VideoInfo) -> None:
    script.token_side_px = 18
    pool = open_pool(script, decoder, context_tokens=6000)
    plan = pool.planner.plan(shapes_video)
    session = pool.session(shapes_video, plan, plan.windows[0])
    script.responses = [streams("Yes.")]
    list(session.generate("Where?", max_new_tokens=50))
    assert 1000 < session.prompt_tokens < 6000 - REPLY_RESERVE_TOKENS
    # Larger frames may cost more than the smallest ones let expect. The next plan counts with it.
    pool = open_pool(script, decoder, context_tokens=6000)
    script.token_side_px = 11
    plan = pool.planner.plan(shapes_video)
    with pytest.raises(PromptTooLong, match="instead of"):
        pool.session(shapes_video, plan, plan.windows[0])
    plan = pool.planner.plan(shapes_video)
    pool.session(shapes_video, plan, plan.windows[0])


def test_smaller_plan_sends_fewer_frames_of_the_same_window(script: Script, tmp_path: Path, shapes_path: Path) -> None:
    # The windows stay as they are; only every second frame fits.
    script.refused = {2000: "This model's maximum context length is 4700 tokens."}
    script.fallback = streams("[]")
    shell, options = Shell(tmp_path), ("--server", script.url, "--model", "m")
    location = shell.call("locate", *options, str(shapes_path), "a dog")
    assert location["coverage"]["frames"] == 20 and location["coverage"]["seconds"] == 20.0


def test_text_is_not_shown_before_it_is_proved(script: Script) -> None:
    session = RemoteEngine(Server(script.url, "m")).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    script.cut_tokens = 30
    script.responses = [streams("There", " is", " no dog.")]
    shown: list[str] = []
    with pytest.raises(ServerFailed, match="has not seen all frames"):
        shown.extend(session.generate("Is there a dog?", max_new_tokens=50))
    assert shown == []
    # Once a reply has shown that the server reads these frames, text is streamed.
    script.cut_tokens = None
    script.responses = [streams("A", " cat."), streams("A", " cat.")]
    assert [*session.generate("What?", max_new_tokens=50)] == ["A cat."]
    assert [*session.generate("What?", max_new_tokens=50)] == ["A", " cat."]


def test_server_that_keeps_prefixes_reads_the_prompt_before_the_reply(script: Script) -> None:
    script.models = [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 16_384}}]
    session = RemoteEngine(Server(script.url, "m")).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    script.responses = [streams("A"), streams("A", " cat."), streams("A", " cat.")]
    for _ in range(2):
        assert [*session.generate("What?", max_new_tokens=50)] == ["A", " cat."]
    assert [request["max_tokens"] for request in script.requests] == [1, 50, 50]


def test_every_frame_is_sent_where_the_budget_allows_it(script: Script, decoder: Decoder, shapes_video: VideoInfo) -> None:
    sent = {}
    for context_tokens in (65_536, 4000):
        script.requests = []
        pool = open_pool(script, decoder, context_tokens=context_tokens)
        plan = pool.planner.plan(shapes_video)
        session = pool.session(shapes_video, plan, plan.windows[0])
        script.responses = [streams("Yes.")]
        list(session.generate("Where?", max_new_tokens=50))
        sent[context_tokens] = len(frames_of(script.requests[0]))
        # Coverage counts the frames that the model has seen.
        assert session.frames == sent[context_tokens] == len(session.patches)
        assert count_tokens(script.requests[0]) <= context_tokens
    assert sent[65_536] == plan.frames == 2 * sent[4000]


def test_context_that_a_gateway_hides_leads_to_a_smaller_plan_once(
    script: Script, tmp_path: Path, shapes_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script.refused = {1500: "This model's maximum context length is 3072 tokens. However, your prompt contains more."}
    script.fallback = streams("[]")
    shell, server = Shell(tmp_path), ("--server", script.url, "--model", "m")
    location = shell.call("locate", *server, str(shapes_path), "a dog")
    assert location["spans"] == [] and location["coverage"]["frames"] == len(frames_of(script.requests[-1])) > 0
    # The reply to the verification is neither yes nor no.
    assert location["found"] is None and location["unresolved"]
    assert count_tokens(script.requests[-1]) <= 1500
    assert "plans with at most 3,072 tokens" in caplog.text and "It starts again." in caplog.text
    # A server that takes hardly anything is an error, which names the setting, and no "not in this video".
    script.refused = {600: "This model's maximum context length is 600 tokens."}
    error = shell.call("locate", *server, str(shapes_path), "a dog", code=1)
    assert error["error"]["code"] == "impossible_plan" and "change its context length" in error["error"]["message"]


@pytest.mark.parametrize(
    ("message", "context_tokens"),
    [
        ("This model's maximum context length is 4096 tokens. However, you requested 300 output tokens.", 4096),
        ("The decoder prompt (length 7618) is longer than the maximum model length of 4096.", 4096),
        ("The input (7618 tokens) is longer than the model's context length (4096 tokens).", 4096),
        ("the request exceeds the available context size (4096 tokens), try increasing it", 4096),
        ("Trying to keep the first 7618 tokens when context overflows. However, the model is loaded with context length of "
         "only 4096 tokens, which is not enough.", 4096),
        ("This endpoint's maximum context length is 32,768 tokens. However, you requested about 40000 tokens.", 32_768),
        ("input exceeds the context window of this model", 49_152),
        ("prompt too long; exceeded max context length by 100 tokens", 49_152),
        ("The input is longer than the context window of Qwen3-VL-8B-Instruct (32768 tokens)", 32_768),
        ("The input token count (70000) exceeds the maximum number of tokens allowed (32768).", 32_768),
        ("Your request exceeded model token limit: 32768", 32_768),
        ("Range of input length should be [1, 30720]", 30_720),
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 7618 `inputs` tokens", 4096),
        ("Prompt contains 7618 tokens, too large for model with 4096 maximum context length", 4096),
        ("out of memory", None),
        ("The image cannot be decoded", None),
    ],
)  # fmt: skip
def test_limits_are_read_from_what_servers_say(message: str, context_tokens: int | None) -> None:
    limits = PromptLimits(Server("http://h/v1", "m"), ServerFacts("x"), 65_536, real_checkpoint().trained_range)
    planned = limits.present
    error = limits.overflow(message, planned)
    # A second request that was planned with the old limits changes nothing more.
    limits.overflow(message, planned)
    assert (error is None) is (context_tokens is None)
    assert limits.context_tokens == (context_tokens or 65_536)


def test_images_are_limited_to_what_a_server_takes_at_once() -> None:
    limits = PromptLimits(Server("http://h/v1", "m"), ServerFacts("x"), 65_536, real_checkpoint().trained_range)
    assert "plans with at most 32 images" in str(
        limits.overflow("At most 32 image(s) may be provided in one prompt.", limits.present)
    )
    assert limits.trained_range.max_patches == 32 and limits.context_tokens == 65_536


def test_video_that_exceeds_the_encoder_cache_leads_to_smaller_windows(
    script: Script, decoder: Decoder, shapes_video: VideoInfo
) -> None:
    script.models = [VLLM]
    pool = open_pool(script, decoder)
    plan = pool.planner.plan(shapes_video)
    session = pool.session(shapes_video, plan, plan.windows[0])
    script.refused = {0: "The video item with length 9000 exceeds the pre-allocated encoder cache size 800."}
    with pytest.raises(PromptTooLong, match="at most 800 tokens in one video"):
        list(session.generate("Where?", max_new_tokens=50))
    assert pool.planner.plan(shapes_video).visual_tokens <= 800 < plan.visual_tokens


def test_reply_is_limited_to_the_rest_of_the_context(script: Script) -> None:
    engine = RemoteEngine(Server(script.url, "m"))
    session = engine.open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    assert session.conversation("What?", 500).max_tokens == 500
    assert session.conversation("What?", 50_000).max_tokens < SAFE_CONTEXT_TOKENS - session.min_tokens
