"""Tests that no reply of a server is believed unless its model has read the whole prompt, and that plans follow what it takes."""

from pathlib import Path
from typing import Any

import pytest

from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.facts import SAFE_CONTEXT_TOKENS, ServerFacts
from longview.model.engine.remote.limits import PromptLimits
from longview.model.engine.remote.server import Server
from longview.model.engine.sessions import SessionPool
from longview.model.errors import PromptTooLong, ServerFailed
from longview.model.tasks.prober import FreeFormProber
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo
from longview.video.timeline import Span
from tests.app.shell import Shell
from tests.fakes import real_checkpoint
from tests.model.engine.scripted_server import BLACK, VLLM, Script, count_tokens, frames_of, streams

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
        FreeFormProber().verify(session, Span(0, 5), "a dog")


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


def test_context_without_room_for_frames_is_an_error_that_names_the_setting(script: Script) -> None:
    script.models = [VLLM | {"max_model_len": 1024}]
    with pytest.raises(
        ServerFailed, match="has 1,024 tokens, and 2,.* are needed at least: change --max-model-len of vllm serve"
    ):
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
    assert "plans with at most 3,072 tokens" in caplog.text and "It tries once more." in caplog.text
    # A server that takes hardly anything is an error, which names the setting, and no "not in this video".
    script.refused = {600: "This model's maximum context length is 600 tokens."}
    error = shell.call("locate", *server, str(shapes_path), "a dog", code=1)
    assert error["error"]["code"] == "prompt_too_long" and "its context length has to be changed" in error["error"]["message"]


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
        ("out of memory", None),
        ("The image cannot be decoded", None),
    ],
)  # fmt: skip
def test_limits_are_read_from_what_servers_say(message: str, context_tokens: int | None) -> None:
    limits = PromptLimits(Server("http://h/v1", "m"), ServerFacts("x"), 65_536, real_checkpoint().trained_range)
    error = limits.overflow(message)
    assert (error is None) is (context_tokens is None)
    assert limits.context_tokens == (context_tokens or 65_536)


def test_images_are_limited_to_what_a_server_takes_at_once() -> None:
    limits = PromptLimits(Server("http://h/v1", "m"), ServerFacts("x"), 65_536, real_checkpoint().trained_range)
    assert "plans with at most 32 images" in str(limits.overflow("At most 32 image(s) may be provided in one prompt."))
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
    session = engine.open_session([BLACK], Span(0, 4), capacity_tokens=4096)
    assert session.conversation("What?", 500).max_tokens == 500
    assert session.conversation("What?", 50_000).max_tokens < SAFE_CONTEXT_TOKENS - session.min_tokens
