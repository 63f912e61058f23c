"""The two sizes of a run: `full`, for one GPU, and `toy`, which shows on a CPU that everything works."""

from dataclasses import dataclass
from typing import Any, Literal

from longview.model.training.curriculum import FULL_STAGES, TOY_STAGES, Stage

SizeName = Literal["full", "toy"]


@dataclass(frozen=True)
class Size:
    """The settings that depend on the available hardware."""

    name: SizeName
    text: dict[str, Any]
    """Differences from the `text_config` of the bundled checkpoint."""
    vision: dict[str, Any]
    """Differences from the `vision_config` of the bundled checkpoint."""
    grids: tuple[tuple[int, int], ...]
    """Rows and columns of visual tokens per patch, of 32 pixels each."""
    max_visual_tokens: int
    """Maximum visual tokens of one video; longer videos have smaller frames."""
    stages: tuple[Stage, ...]
    tokens_per_step: int
    max_examples_per_step: int
    max_questions: int
    """Maximum number of questions about one video."""
    learning_rate: float
    warmup_steps: int
    scored: tuple[tuple[int, int], ...]
    """Lengths in the score table: (temporal patches, held-out scenes per kind of question)."""
    max_reply_tokens: int
    """Maximum length of a reply in scoring. A dense caption of about ten events takes 350 tokens."""


FULL = Size(
    name="full",
    text={"num_hidden_layers": 8},
    vision={},
    grids=((3, 3), (3, 4), (3, 5), (2, 4), (4, 4), (4, 7), (3, 6), (5, 3)),
    max_visual_tokens=6144,
    stages=FULL_STAGES,
    tokens_per_step=90_000,
    max_examples_per_step=320,
    max_questions=4,
    learning_rate=8e-4,
    warmup_steps=300,
    scored=((8, 128), (24, 128), (96, 64), (192, 32), (512, 16)),
    max_reply_tokens=420,
)
"""11 million parameters. Grids, tokens per step, learning rate and warmup are those of the bundled checkpoint (6 layers)."""
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
    max_examples_per_step=32,
    max_questions=2,
    learning_rate=3e-3,
    warmup_steps=30,
    scored=((6, 48), (12, 48)),
    max_reply_tokens=120,
)
"""0.6 million parameters, frames of 64x64 pixels. Far too small to become useful in minutes."""
SIZES: dict[SizeName, Size] = {"full": FULL, "toy": TOY}
