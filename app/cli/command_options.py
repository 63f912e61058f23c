"""Options that several commands have, in groups."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from longview.model.engine.checkpoints.precision_names import Precision
from longview.video.decoding.backends import BackendName

OptionGroup = Literal[
    "json",
    "model",
    "decoding",
    "backend",
    "key-frames",
    "speech",
    "screen-text",
    "transcript",
    "thinking",
    "index-checks",
    "ask-checks",
    "search-checks",
]
"""Options that several commands have: `--json`; the model and where it runs; how frames are decoded for it, or only the
backend, or only `--key-frames-only`; how speech is recognised; how text on screen is read; whether the checkpoint gets the
transcript; whether it thinks before an answer; the checks of captions, answers and search results. All but `--json` override a
setting."""
LIBRARY = {"library": Annotated[Path | None, typer.Option(help="Library folder (also LONGVIEW_LIBRARY).", show_default=False)]}
VERBOSE = {"verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr.")]}
_BACKEND = {"backend": Annotated[BackendName | None, typer.Option(help="Decoder backend.", show_default=False)]}
_KEY_FRAMES = {
    "key_frames_only": Annotated[
        bool | None,
        typer.Option(
            "--key-frames-only", help="Decode key frames only: much faster, but events between two key frames are missed."
        ),
    ]
}
_SPEECH = {
    "speech_model": Annotated[
        str | None,
        typer.Option(help="Speech model: auto (the bundled one), a folder, or the name of a cached model.", show_default=False),
    ],
    "speech_language": Annotated[
        str | None,
        typer.Option("--language", help="Language of the speech, such as en; auto detects it (the default).", show_default=False),
    ],
    "speech_vocabulary": Annotated[
        Path | None,
        typer.Option("--vocabulary", help="Text file with names and terms that are likely in the speech.", show_default=False),
    ],
    "audio_track": Annotated[
        str | None,
        typer.Option(help="Audio track to recognise: its number from 1, or a language.", show_default=False),
    ],
}
_SCREEN_TEXT = {
    "screen_text_language": Annotated[
        str | None,
        typer.Option(
            "--screen-language",
            help="Language of the text on screen, such as ko; by default that of the speech.",
            show_default=False,
        ),
    ],
}
_TRANSCRIPT = {
    "transcript": Annotated[
        bool | None,
        typer.Option(
            "--transcript/--no-transcript",
            help="Give the checkpoint what is said and shown, beside the frames; the demo checkpoint never gets it.",
            show_default=False,
        ),
    ]
}
_THINKING = {
    "thinking": Annotated[
        bool | None,
        typer.Option(
            "--thinking/--no-thinking",
            help="Let the checkpoint think before it answers, if its chat template has a switch for it; off by default.",
            show_default=False,
        ),
    ]
}
_INDEX_CHECKS = {
    "index_verify": Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify", help="Verify every caption; by default only for the demo checkpoint.", show_default=False
        ),
    ],
    "index_refine": Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine",
            help="Refine the times of contested captions; by default only for the demo checkpoint.",
            show_default=False,
        ),
    ],
}
_ASK_CHECKS = {
    "ask_verify": Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Verify each time that an answer names.", show_default=False)
    ]
}
_SEARCH_CHECKS = {
    "search_verify": Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Verify each moment, and hide it if the video does not confirm its caption; by default where this is quick.",
            show_default=False,
        ),
    ]
}
GROUPS: dict[OptionGroup, dict[str, Any]] = {
    "json": {"as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]},
    "model": {
        "model": Annotated[
            str | None, typer.Option(help="Checkpoint: auto, demo, a Hugging Face id or a folder.", show_default=False)
        ],
        "server": Annotated[
            str | None,
            typer.Option(help="Server of the model: http://host:8000/v1.", show_default=False),
        ],
        "grounding_model": Annotated[
            str | None,
            typer.Option(help="Second checkpoint, which locates and refines times; by default --model does.", show_default=False),
        ],
        "grounding_server": Annotated[
            str | None, typer.Option(help="Server of --grounding-model; by default it runs here.", show_default=False)
        ],
        "profile": Annotated[
            str | None,
            typer.Option(help="Profile of the model; by default as its name and architecture say.", show_default=False),
        ],
        "precision": Annotated[
            Precision | None,
            typer.Option(
                help="Number format on a CPU: float32, bfloat16, int8, or auto, the faster of the first two.", show_default=False
            ),
        ],
    },
    "decoding": _BACKEND | _KEY_FRAMES,
    "backend": _BACKEND,
    "key-frames": _KEY_FRAMES,
    "speech": _SPEECH,
    "screen-text": _SCREEN_TEXT,
    "transcript": _TRANSCRIPT,
    "thinking": _THINKING,
    "index-checks": _INDEX_CHECKS,
    "ask-checks": _ASK_CHECKS,
    "search-checks": _SEARCH_CHECKS,
}
