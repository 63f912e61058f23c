"""The options of a run that a client chooses, what it may choose, and the estimated cost."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from longview.app.errors import BadRequest
from longview.app.files.video_names import checked_title
from longview.app.ingest.options import IndexOptions, RunSettings
from longview.app.schemas.base import rounded
from longview.app.schemas.plans import PlannedSourceOut
from longview.core.sources import SOURCES
from longview.core.time_text import parse_time
from longview.model.engine.checkpoints.precision_names import Precision
from longview.model.speech.languages import SPEECH_LANGUAGES
from longview.video.language_tags import language_code

if TYPE_CHECKING:
    from longview.app.serving.estimates import Estimate
    from longview.app.serving.run_choices import RunChoices

MAX_TIME_S = 1000 * 3600.0
"""Maximum time in a video, in seconds; no video is as long."""
MAX_TIME_CHARACTERS = 100
MAX_NAME_CHARACTERS = 200
MAX_FILE_BYTES = 1 << 53
MAX_PIXELS = 1 << 16
"""Maximum width or height of the pictures of a file, in pixels."""


def _seconds(value: Any) -> Any:
    """Return the seconds of a time that is written as a user writes it."""
    if not isinstance(value, str):
        return value
    try:
        return parse_time(value[:MAX_TIME_CHARACTERS])
    except ValueError as error:
        raise BadRequest(f"{error}.") from error


Time = Annotated[float, BeforeValidator(_seconds), Field(ge=0.0, le=MAX_TIME_S)]
"""A time in seconds, or as text: `75`, `1:15`, `1:02:03.5`, `2 minutes`."""
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class RunOptions(BaseModel):
    """The options of a run that indexes a file. What is null is decided by the settings of the server."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    start_s: Time | None = None
    """The start of the part that is indexed, in seconds or as a text such as `1:15`."""
    end_s: Time | None = None
    """The end of that part."""
    sources: Annotated[list[str], Field(max_length=len(SOURCES))] | None = None
    """The only sources that are run, such as `["speech", "screen_text"]`; null: all that apply to the video."""
    context_tokens: int | None = Field(default=None, ge=1, lt=1 << 53)
    """Maximum context of the checkpoint (prompt and reply), in tokens."""
    title: str | None = Field(default=None, max_length=300)
    """The title of a new video; by default the name of its file."""
    accepts_long: bool = False
    """Whether captions are made even if they take longer than ten minutes."""
    speech_language: Name | None = None
    """The language of the speech, as a code such as `de`; `auto`: it is detected, whatever the settings of the server are."""
    speech_model: Name | None = None
    """A speech model that `GET /v1/run-options` lists."""
    precision: Precision | None = None
    """Number format of the weights of the checkpoint on a CPU: `auto`, `float32`, `bfloat16` or `int8`."""
    audio_track: Name | None = None
    """The audio track that is recognised: its number from 1, or its language as a code."""
    screen_text_language: Name | None = None
    """The language of the text on screen, as a code such as `ko`."""

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate options, whatever request they are in.

        Raises:
            BadRequest: an option cannot be used; one sentence says which and why.
        """
        try:
            options = handler(value)
        except ValidationError as error:
            raise BadRequest(_problem(error)) from error
        if options.sources is not None:
            if not options.sources:
                raise BadRequest("No source is chosen; choose at least one.")
            if unknown := [name for name in options.sources if name not in SOURCES]:
                raise BadRequest(
                    f"There is no source {unknown[0][:MAX_NAME_CHARACTERS]!r}; the sources are {', '.join(SOURCES)}."
                )
        if options.title is not None:
            options.title = checked_title(options.title)
        track = options.audio_track
        if track is not None and not (track.isascii() and track.isdecimal()) and language_code(track) is None:
            raise BadRequest(f"{track!r} is not an audio track; use its number from 1, or a language such as de.")
        return options

    def index_options(self) -> IndexOptions:
        """Return the options as the application takes them."""
        names = RunSettings.__dataclass_fields__
        values = self.model_dump()
        settings = RunSettings(**{name: values.pop(name) for name in names})
        sources = values.pop("sources")
        return IndexOptions(**values, sources=None if sources is None else tuple(dict.fromkeys(sources)), settings=settings)


def _problem(error: ValidationError) -> str:
    """Return what is wrong with options, as a sentence."""
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0])[:MAX_NAME_CHARACTERS] if problem["loc"] else ""
    if not name:
        return "The options are not a JSON object."
    if problem["type"] == "extra_forbidden":
        return f"There is no option {name!r}."
    return f"The option {name} has a value that cannot be used: {problem['msg']}."


class ServerSettingsOut(BaseModel):
    """What holds of the settings of a run where nothing is chosen."""

    precision: str
    speech_model: str | None
    """Name of the speech model; null: there is none on this machine."""
    speech_language: str | None
    """Code of the language of the speech; null: it is detected."""
    audio_track: str | None
    screen_text_language: str | None


class RunChoicesDocument(BaseModel):
    """What a client may choose of a run on this machine. A list is empty where a choice means nothing."""

    sources: list[str]
    captions_footage: bool
    """Whether a checkpoint is there that captions any footage."""
    speech_languages: list[str]
    """Codes of the languages that the speech models know."""
    speech_models: list[str]
    precisions: list[str]
    server: ServerSettingsOut
    """The settings of the server, which hold where nothing is chosen."""

    @classmethod
    def of(cls, choices: "RunChoices") -> Self:
        """Return the document of choices."""
        return cls(
            sources=list(choices.sources),
            captions_footage=choices.captions_footage,
            speech_languages=list(SPEECH_LANGUAGES) if choices.speech_models else [],
            speech_models=list(choices.speech_models),
            precisions=list(choices.precisions),
            server=ServerSettingsOut(**asdict(choices.settings)),
        )


class ClientFile(BaseModel):
    """What a browser knows of a file before it is sent."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(max_length=1000)
    size_bytes: int = Field(ge=0, le=MAX_FILE_BYTES)
    duration_s: float | None = Field(default=None, gt=0.0, le=MAX_TIME_S)
    """Its length in seconds; null: the browser cannot read the file."""
    width: int = Field(default=0, ge=0, le=MAX_PIXELS)
    """Width of the pictures in pixels; 0: it has none."""
    height: int = Field(default=0, ge=0, le=MAX_PIXELS)


class EstimateDocument(BaseModel):
    """The estimated cost of indexing a file, a folder, or files that are not sent yet."""

    files: int
    duration_s: float | None
    """Length of all files together, in seconds; null: it is unknown."""
    unknown_files: int
    """Number of files whose length is unknown; their cost is left out."""
    sources: list[PlannedSourceOut]
    """What each source would do with all files together. Captions that would take long have the action `skip`, unless they are
    chosen or accepted, and what they would take in `at_most_seconds`."""
    estimated_seconds: float | None
    """Expected time of all sources, in seconds; null: that of a source is unknown."""
    is_rough: bool
    """Whether it follows from typical contents, and not from a look at the file."""
    captions_footage: bool
    """Whether a checkpoint is there that captions any footage; another one looks at it, and declines."""

    @classmethod
    def of(cls, estimate: "Estimate", *, captions_footage: bool) -> Self:
        """Return the document of an estimate."""
        return cls(
            captions_footage=captions_footage,
            files=estimate.files,
            duration_s=rounded(estimate.duration_s),
            unknown_files=estimate.unknown_files,
            sources=[
                PlannedSourceOut(
                    source=name,
                    action=source.action,
                    reason=source.reason,
                    estimated_seconds=rounded(source.seconds),
                    at_most_seconds=rounded(source.at_most_s),
                    declined_after_seconds=None,
                )
                for name, source in estimate.sources.items()
            ],
            estimated_seconds=rounded(estimate.seconds),
            is_rough=estimate.is_rough,
        )
