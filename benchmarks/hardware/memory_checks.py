"""Check with too little memory on the device: sessions are evicted, the error is clear, and all works again afterwards."""

import dataclasses
import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil
import torch

from benchmarks.hardware.engine_checks import Finding, greedy_reply
from longview.core.timeline import Span
from longview.model.engine.execution import frame_batches
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import OutOfMemory
from longview.video.decoding.decoder import Decoder
from longview.video.sampling_plan import SamplingPlan
from longview.video.synthetic import render, sample_events
from tests.support.random_checkpoints import ROPE

LARGE_HEADS = {
    "num_hidden_layers": 10, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128,
    "rope_parameters": ROPE | {"mrope_section": [24, 20, 20]},
}  # fmt: skip
"""Settings of a random checkpoint whose keys and values take 80 KiB per token in bfloat16. With the usual settings, the memory
of a session would be too small beside that of its activations. With more layers, the C library would keep their tensors for reuse
when a session ends on a CPU."""
MIN_SESSION_BYTES = 1_000_000_000
MIN_RESERVED_TOKENS = 2048
"""Minimum tokens of a session beside its frames."""
CHUNK_TOKENS = 1024
"""Visual tokens per chunk, so that activations are small beside a session."""
FREE_SHARE = 0.6
"""Memory that is left free, as a share of a session: too little for one, and enough for activations."""
DURATION_S = 20.0


@contextmanager
def memory_shortage(device: str, free_bytes: int) -> Iterator[None]:
    """Leave only `free_bytes` of memory free. On a GPU a ballast fills the rest; on a CPU it is a limit of this process."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        ballast = torch.empty(max(0, torch.cuda.mem_get_info()[0] - free_bytes), dtype=torch.uint8, device="cuda")
        try:
            yield
        finally:
            del ballast
            torch.cuda.empty_cache()
        return
    former = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + free_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, former)


def check_memory_shortage(engine: LocalEngine, folder: Path) -> Finding:
    """Open windows while a session is on the device and memory is short, and while it is too short for one session.

    `folder`: for the video.
    """
    decoder = Decoder(processes=1)
    with mock.patch.dict(frame_batches.CHUNK_TOKENS, {engine.device: CHUNK_TOKENS}):
        try:
            return _check(engine, decoder, render(folder / "memory.mp4", sample_events(DURATION_S, 3, seed=4), DURATION_S))
        finally:
            decoder.close()


def _check(engine: LocalEngine, decoder: Decoder, path: Path) -> Finding:
    video = decoder.probe(path)
    # The accounts of the pool must not evict before the device is full.
    pool = SessionPool(engine, decoder, memory_bytes=1 << 50)
    halves = [Span(0.0, DURATION_S / 2), Span(DURATION_S / 2, DURATION_S)]
    reserved_tokens = max(MIN_RESERVED_TOKENS, MIN_SESSION_BYTES // engine.estimates.kv_bytes_per_token)
    plans = [dataclasses.replace(pool.planner.plan(video, span=span), reserved_tokens=reserved_tokens) for span in halves]

    def ask(plan: SamplingPlan) -> list[int]:
        session = pool.session(video, plan, plan.windows[0])
        assert isinstance(session, LocalSession)
        return greedy_reply(session)

    expected = [ask(plan) for plan in plans]
    pool.discard(video.content_hash)
    session_bytes = engine.session_bytes(max(plan.window_tokens[0] for plan in plans))
    free_bytes = int(FREE_SHARE * session_bytes)
    ask(plans[0])
    with memory_shortage(engine.device, free_bytes):
        has_evicted = ask(plans[1]) == expected[1]
    pool.discard(video.content_hash)
    message = ""
    with memory_shortage(engine.device, free_bytes):
        try:
            ask(plans[0])
        except OutOfMemory as error:
            message = str(error)
    works_again = ask(plans[0]) == expected[0]
    figures = (
        f"sessions of {session_bytes / 1e6:.0f} MB, {free_bytes / 1e6:.0f} MB free: "
        f"{'the other session was evicted' if has_evicted else 'ANOTHER reply after an eviction'}; "
        f"{'too little memory: ' + message if message else 'NO ERROR where no session fits'}; "
        f"{'same reply' if works_again else 'ANOTHER reply'} when memory was free again"
    )
    return Finding(has_evicted and "context limit" in message and works_again, figures)
