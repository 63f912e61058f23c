"""A checkpoint is used only if it finds plain text likely: weights that are not understood answer in fluent nonsense."""

import math
from pathlib import Path

import pytest
import torch

from longview.model.engine import canary
from longview.model.engine.canary import MAX_LOSS_SHARE, check_canary, text_loss
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_access import load_engine
from longview.model.errors import InvalidCheckpoint
from tests.support.random_checkpoints import LAYOUTS, save_random_checkpoint


def teach_the_text(engine: LocalEngine) -> None:
    """Train the weights on the text for a few seconds, as a stand-in for a published checkpoint, which has seen all kinds."""
    for parameter in engine.model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(engine.model.parameters(), lr=3e-3)
    ids = engine.processor.tokenizer(canary.TEXT.replace("\n", " ").strip(), add_special_tokens=False, return_tensors="pt")
    ids = ids["input_ids"][:, : canary.MAX_TEXT_TOKENS]
    for _ in range(40):
        optimizer.zero_grad()
        engine.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_weights_are_refused_after_they_were_loaded(tmp_path: Path, layout: str) -> None:
    save_random_checkpoint(tmp_path, layout)
    with pytest.raises(
        InvalidCheckpoint, match=r"was loaded, but plain English text has a loss of \d+\.\d nats.*LONGVIEW_CANARY=0"
    ):
        load_engine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    assert load_engine(find_checkpoint(str(tmp_path)), has_canary=False, device="cpu", cpu_threads=1)


def test_a_checkpoint_that_knows_the_text_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "checkpoint", tmp_path / "cache"
    save_random_checkpoint(folder, "dense")
    engine = LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1)
    limit = MAX_LOSS_SHARE * math.log(engine.model.config.get_text_config().vocab_size)
    assert text_loss(engine) > limit
    teach_the_text(engine)
    assert text_loss(engine) < limit
    check_canary(engine, cache)
    monkeypatch.setattr(canary, "text_loss", lambda _: math.nan)
    check_canary(engine, cache)
    with pytest.raises(InvalidCheckpoint, match="a loss of nan nats"):
        check_canary(engine, None)


def test_a_clip_that_gives_no_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_checkpoint(tmp_path, "dense")
    engine = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    monkeypatch.setattr(canary, "text_loss", lambda _: 3.0)
    monkeypatch.setattr(engine, "device", "cuda")
    check_canary(engine, None)
    with torch.no_grad():
        engine.model.model.visual.merger.linear_fc2.weight.fill_(torch.inf)
    with pytest.raises(InvalidCheckpoint, match="a clip gives logits that are no numbers on cuda"):
        check_canary(engine, None)
