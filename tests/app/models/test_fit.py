"""What is said before a download: whether a checkpoint will fit, and whether pip has the kernels for FP8."""

from dataclasses import replace

import pytest

from longview.app.models import fit, fp8_package
from longview.app.models.fit import fit_warnings
from longview.app.models.fp8_package import installable_fp8_package
from longview.app.models.pulls import PullPlan
from longview.app.settings import Settings
from longview.model.hub.listing import Listing
from longview.model.hub.pulls import PlannedPull
from longview.model.hub.transfer import HubFile
from tests.model.test_recommendation import ONE_GPU
from tests.support.package_index import package_index

GB = 10**9


def pull_of(repo_id: str, weight_bytes: int) -> PullPlan:
    files = (HubFile("config.json", 1000, "0" * 40), HubFile("model.safetensors", weight_bytes, "0" * 64))
    return PullPlan((PlannedPull(Listing(repo_id, "main", "0" * 40, "checkpoint", files), weight_bytes),))


def test_a_checkpoint_that_cannot_fit_is_named_before_it_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(device="cuda")
    monkeypatch.setattr(fit, "choose_device_type", lambda _: "cuda")
    monkeypatch.setattr(fit, "device_count", lambda _: 1)
    monkeypatch.setattr(fit, "device_memory_bytes", lambda _: (24 * GB, 25 * GB))
    monkeypatch.setattr(fit, "keeps_fp8", lambda _: False)
    assert fit_warnings(pull_of("Qwen/Qwen3.5-9B-FP8", 10 * GB), settings) == []
    (text,) = fit_warnings(pull_of("Qwen/Qwen3.5-9B-FP8", 13 * GB), settings)
    assert text.startswith(
        "Qwen/Qwen3.5-9B-FP8 will not fit: its weights take 26 GB, because FP8 is de-quantised here, and the GPU"
    )
    monkeypatch.setattr(fit, "keeps_fp8", lambda _: True)
    assert fit_warnings(pull_of("Qwen/Qwen3.5-9B-FP8", 12 * GB), settings) == []
    assert "its weights take 54 GB, and the GPU has 25 GB" in fit_warnings(pull_of("Qwen/Qwen3.5-27B", 54 * GB), settings)[0]


def test_fp8_kernels_are_advised_only_where_pip_has_a_version_that_transformers_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(ONE_GPU, has_fp8_kernels=False)
    answers = []
    with package_index() as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        for name, value in {"PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_NO_INDEX": ""}.items():
            monkeypatch.setenv(name, value)
        # A loaded machine starts pip slowly.
        monkeypatch.setattr(fp8_package, "MAX_ANSWER_S", 60)
        for version in ("0.17.2", "0.18.2"):
            fp8_package.can_install.cache_clear()
            index.add("kernels", version, "py3-none-any")
            answers.append(installable_fp8_package(card))
    fp8_package.can_install.cache_clear()
    assert answers == [None, "kernels>=0.18.2,<0.19.0"]
    assert installable_fp8_package(ONE_GPU) is None
    assert installable_fp8_package(replace(card, multiplies_fp8=False)) is None
