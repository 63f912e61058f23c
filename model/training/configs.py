"""The two sizes a run can have: `full`, for one GPU, and `toy`, which shows on a CPU that everything works."""

from dataclasses import dataclass
from typing import Any, Literal

from longview.model.training.curriculum import FULL_STAGES, TOY_STAGES, Stage

SizeName = Literal["full", "toy"]


@dataclass(frozen=True)
class Size:
    """What depends on how much machine there is."""

    name: SizeName
    text: dict[str, Any]
    """What differs from the bundled checkpoint's `text_config`."""
    vision: dict[str, Any]
    """The same of its `vision_config`."""
    grids: tuple[tuple[int, int], ...]
    """Rows and columns of visual tokens a patch, 32 pixels each."""
    max_visual_tokens: int
    """Of one video: longer ones get smaller pictures."""
    stages: tuple[Stage, ...]
    tokens_per_step: int
    max_rows_per_step: int
    max_questions: int
    """Questions about one video."""
    learning_rate: float
    warm_up_steps: int
    scored: tuple[tuple[int, int], ...]
    """(temporal patches, held-out scenes a kind of question) of the table of scores."""
    max_reply_tokens: int
    """Longest reply in scoring: a dense caption of about ten events takes 350."""


FULL = Size(
    name="full",
    text={"num_hidden_layers": 8},
    vision={},
    grids=((3, 3), (3, 4), (3, 5), (2, 4), (4, 4), (4, 7), (3, 6), (5, 3)),
    max_visual_tokens=6144,
    stages=FULL_STAGES,
    tokens_per_step=90_000,
    max_rows_per_step=320,
    max_questions=4,
    learning_rate=8e-4,
    warm_up_steps=300,
    scored=((8, 128), (24, 128), (96, 64), (192, 32), (512, 16)),
    max_reply_tokens=420,
)
"""11 million parameters. Grids, tokens a step, rate and warm-up are those that made the bundled checkpoint (of 6 layers)."""
TOY = Size(
    name="toy",
    text={
        "num_hidden_layers": 4,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 500000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
    },
    vision={
        "depth": 2,
        "hidden_size": 64,
        "num_heads": 2,
        "intermediate_size": 192,
        "out_hidden_size": 64,
        "deepstack_visual_indexes": [0],
    },
    grids=((2, 2),),
    max_visual_tokens=48,
    stages=TOY_STAGES,
    tokens_per_step=3_000,
    max_rows_per_step=32,
    max_questions=2,
    learning_rate=3e-3,
    warm_up_steps=30,
    scored=((6, 48), (12, 48)),
    max_reply_tokens=120,
)
"""0.6 million parameters, pictures of 64x64 pixels. Far too small to become useful in minutes."""
SIZES: dict[SizeName, Size] = {"full": FULL, "toy": TOY}
