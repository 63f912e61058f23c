"""A repository of a hub for tests of pulls, and what a pull leaves behind."""

import json

from longview.model.hub.cache import repository_folder
from longview.model.hub.pulls import PullResult, check_space, plan_pull, pull
from tests.support.hub_server import Hub, describe

NAME = "Qwen/Qwen3-VL-2B-Instruct"
CONFIG = {
    "model_type": "qwen3_vl",
    "vision_config": {},
    "text_config": {"num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8, "max_position_embeddings": 4096},
}
WEIGHTS = bytes(range(256)) * 400
WEIGHTS_DIGEST = describe("model.safetensors", WEIGHTS)["lfs"]["sha256"]
FILES = {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b'{"a": 1}', "model.safetensors": WEIGHTS}
NEW_COMMIT = "89abcdef" * 5


def pull_now(name: str = NAME, revision: str | None = None, *, update: bool = False) -> PullResult:
    plan = plan_pull(name, revision, update=update)
    check_space([plan])
    return pull(plan)


def transfers(hub: Hub) -> list[str]:
    """Return the files whose content was asked for."""
    return [path.rpartition("/")[2] for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def blobs(name: str = NAME) -> set[str]:
    return {path.name for path in (repository_folder(name) / "blobs").iterdir()}
