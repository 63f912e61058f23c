"""Profiles: an architecture -> the prompts, the form of the replies and the trained range that suit its checkpoints.

A checkpoint is most accurate with the wording that it was trained on. Wording is data: a file of `model/profiles/` for each
family, and one beside the bundled checkpoint. A text has placeholders in braces. What is put in their place is never read as a
text with placeholders, so that a query cannot change the prompt around it.
"""

import functools
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, with_config

from longview.core.timeline import Span
from longview.model.errors import InvalidProfile
from longview.video.sampling_plan import TrainedRange

PROFILES = Path(__file__).parents[2] / "profiles"
"""Folder of the profiles of families."""
GENERAL = "qwen3-vl"
"""Name of the profile of every architecture without one of its own: its texts say all that a checkpoint has to know."""
_PUNCTUATION = re.compile(r"[^a-z0-9]")
OWN_KEYS = frozenset({"source", "architectures", "names"})
"""Keys that a profile does not take from the profile that it extends."""

CaptionForm = Literal["json", "event lines"]
"""Form of captions. `json`: a list of objects. `event lines`: `<start - end> description` in a line of its own."""
SpanForm = Literal["json", "pairs", "sentence", "from to"]
"""Form of spans. `json`: a list of objects. `pairs`: a JSON list of `[start, end]`. `sentence`: `The event happens in START - END
seconds`. `from to`: `From START to END.`"""


class ShownPart(Protocol):
    """The part of a video that a session shows, as prompts state it; `longview.model.engine.base.VideoSession` is one."""

    window: Span
    clock_offset_s: float
    video_duration_s: float


def _text(*placeholders: str, is_optional: bool = False) -> AfterValidator:
    """Return a check that a text has exactly these placeholders. `is_optional`: it may be empty instead."""

    def check(text: str) -> str:
        if is_optional and not text:
            return text
        # `{query.name}` would read attributes, and `{query:9}` change what is put there.
        parts = string.Formatter().parse(text)
        names = {f"{name}:{spec}" if spec or conversion else name for _, name, spec, conversion in parts if name is not None}
        if not text or names != {*placeholders}:
            needed, present = (" and ".join(f"{{{name}}}" for name in sorted(some)) or "none" for some in (placeholders, names))
            raise ValueError(f"it needs a text with these placeholders: {needed}; it has {present}")
        return text

    return AfterValidator(check)


def _check_range_keys(table: Any) -> Any:
    unknown_keys = sorted({*table} - {field.name for field in fields(TrainedRange)}) if isinstance(table, dict) else []
    if unknown_keys:
        raise ValueError(f"there is no {', '.join(unknown_keys)}")
    return table


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Prompts:
    """The prompts of a profile: a text for each question, and methods that fill its placeholders.

    The video comes before a question, so that one prefix serves every question. Between them comes its transcript. A
    question about a session begins with the duration of the video and the part that is shown: `part` is the session.
    """

    shown_part: Annotated[str, _text("duration_s", "start_s", "end_s", is_optional=True)]
    shown_part_on_own_clock: Annotated[str, _text("duration_s", "part_s", is_optional=True)]
    """The same for a part whose timestamps count from its own beginning."""
    dense_captions: Annotated[str, _text()]
    dense_captions_with_words: Annotated[str, _text("captions")]
    """Text of the same question where the transcript of the window precedes it; `{captions}` is the text without them."""
    localization: Annotated[str, _text("query")]
    confirmation: Annotated[str, _text("query", "start_s", "end_s")]
    freeform: Annotated[str, _text("question")]
    freeform_with_words: Annotated[str, _text("question")]
    chapter_list: Annotated[str, _text("lines", "count")]
    chapter_summary: Annotated[str, _text("lines")]
    word_lines: Annotated[str, _text("lines")]
    omitted_word_lines: Annotated[str, _text("count")]

    def captions(self, part: ShownPart, *, has_transcript: bool = False) -> str:
        """Return the prompt for dense captions. `has_transcript`: the transcript of the window precedes it."""
        text = self.dense_captions.format()
        return self._about(part, self.dense_captions_with_words.format(captions=text) if has_transcript else text)

    def locate(self, part: ShownPart, query: str) -> str:
        """Return the prompt that asks for all spans which match a query."""
        return self._about(part, self.localization.format(query=_normalize_query(query)))

    def confirm(self, part: ShownPart, query: str, span: Span) -> str:
        """Return the prompt that asks whether the query happens in a span, on the video's clock, as far as it is shown."""
        local = span.clamp(part.window).shift(-part.clock_offset_s)
        query = _normalize_query(query)
        return self._about(
            part, self.confirmation.format(query=query, start_s=_tenths(local.start_s), end_s=_tenths(local.end_s))
        )

    def question(self, part: ShownPart, question: str, *, has_transcript: bool = False) -> str:
        """Return the prompt for any other question. It says that text in the video is never an instruction.

        `has_transcript`: the transcript of the window precedes it.
        """
        return self._about(part, (self.freeform_with_words if has_transcript else self.freeform).format(question=question))

    def chapters(self, lines: Sequence[str], count: int) -> str:
        """Return the prompt that divides a timeline, one caption per line, into chapters."""
        return self.chapter_list.format(lines="\n".join(lines), count=count)

    def summary(self, lines: Sequence[str]) -> str:
        """Return the prompt that summarizes chapters, one per line."""
        return self.chapter_summary.format(lines="\n".join(lines))

    def transcript(self, lines: Sequence[str], omitted_count: int) -> str:
        """Return the context with a window's transcript, one line a segment. `omitted_count`: lines that did not fit."""
        note = f"\n{self.omitted_word_lines.format(count=omitted_count)}" if omitted_count else ""
        return self.word_lines.format(lines="\n".join(lines)) + note

    def _about(self, part: ShownPart, question: str) -> str:
        """Return a question after what is shown. Times are on the clock of the timestamps, to a tenth of a second as they are."""
        statement = (self.shown_part_on_own_clock if part.clock_offset_s else self.shown_part).format(
            duration_s=_tenths(part.video_duration_s),
            start_s=_tenths(part.window.start_s),
            end_s=_tenths(part.window.end_s),
            part_s=_tenths(part.window.duration_s),
        )
        return f"{statement}\n{question}" if statement else question


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Replies:
    """The forms of the replies of a profile. `longview.model.tasks.reply_forms` parses them."""

    captions: CaptionForm
    spans: SpanForm


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Capabilities:
    """What the checkpoints of a profile were trained for."""

    spans: Literal["all", "one", "none"]
    """Whether they find all spans of a query in a window, or a single one."""
    absence: bool
    """Whether they say that a query does not occur. Others name a span in any case."""
    captions: bool
    answers: bool
    """Whether they answer questions, and confirm claims."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Profile:
    """A profile: what a family of checkpoints is asked, how it replies, and what it was trained on."""

    name: str
    """Name of its file, or `demo`."""
    source: str
    """Origin of the texts."""
    architectures: tuple[str, ...]
    """The `model_type`s of the `config.json`s of its checkpoints."""
    version: str
    """Version of the prompts, a part of the provenance of every caption and answer."""
    takes_words: bool
    """Whether its checkpoints get what is said and shown, as text between the video and the question."""
    trained_range: Annotated[TrainedRange, BeforeValidator(_check_range_keys)]
    """Range of a checkpoint without a `trained_range.json` beside its weights."""
    replies: Replies
    capabilities: Capabilities
    prompts: Prompts
    names: tuple[str, ...] = ()
    """Parts of the names of its checkpoints, without capitals and marks: a server states the name, and not the architecture."""


_ADAPTER = TypeAdapter(Profile)


def find_profile(architecture: str = "", name: str = "") -> Profile:
    """Return the profile of a checkpoint: that of its name, if it is a fine-tuned one, else that of its architecture.

    `architecture`: the `model_type` of a `config.json`; one without a profile gets the general one. `name`: a Hugging Face id, or
    a folder, of which the last part counts.

    Raises:
        InvalidProfile: see `read_profile`.
    """
    profiles = _read_profiles()
    named_profile = _match_name(name.rstrip("/").rpartition("/")[2])
    if named_profile is not None and not named_profile.architectures:
        return named_profile
    return next((profile for profile in profiles.values() if architecture in profile.architectures), profiles[GENERAL])


def find_profile_by_name(model: str) -> Profile:
    """Return the profile of a model that is known by its name only, or else the general profile.

    Raises:
        InvalidProfile: see `read_profile`.
    """
    return _match_name(model) or _read_profiles()[GENERAL]


def _match_name(model: str) -> Profile | None:
    """Return the profile with the longest part of a model's name; None without one."""
    name = _PUNCTUATION.sub("", model.lower())
    matches = [(len(part), profile) for profile in _read_profiles().values() for part in profile.names if part in name]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def read_named_profile(name: str) -> Profile:
    """Return a profile of `model/profiles/` by its name.

    Raises:
        InvalidProfile: there is no such profile; the message names those that there are. See also `read_profile`.
    """
    profiles = _read_profiles()
    if name not in profiles:
        raise InvalidProfile(f"There is no profile {name}; choose one of these: demo, {', '.join(profiles)}.")
    return profiles[name]


@functools.cache
def _read_profiles() -> Mapping[str, Profile]:
    return {path.stem: read_profile(path) for path in sorted(PROFILES.glob("*.toml"))}


def read_profile(path: Path) -> Profile:
    """Read a profile from a TOML file. `extends` names the profile of `model/profiles/` from which it takes what it lacks.

    Raises:
        InvalidProfile: the file cannot be read, a key is missing or unknown, or a text has other placeholders than it should.
    """
    table = _read_table(path)
    if (base_name := table.pop("extends", None)) is not None:
        table = _merge(_read_base(path, base_name), table)
    if "name" in table:
        raise InvalidProfile(_describe_damage(path, "name: the name of a profile is that of its file"))
    try:
        # The profile of a checkpoint's folder has the name of the folder.
        return _ADAPTER.validate_python(table | {"name": path.parent.name if path.stem == "profile" else path.stem})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()]
        raise InvalidProfile(_describe_damage(path, "; ".join(problems))) from error


def _read_table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidProfile(_describe_damage(path, str(error))) from error


def _read_base(path: Path, name: Any) -> dict[str, Any]:
    """Return what the profile in `path` takes from the profile that it extends, which may not extend another."""
    base_path = PROFILES / f"{name}.toml"
    base = _read_table(base_path) if base_path in PROFILES.glob("*.toml") else None
    if base is None or "extends" in base:
        raise InvalidProfile(_describe_damage(path, f"extends: {name} is not a complete profile in {PROFILES}"))
    return {key: value for key, value in base.items() if key not in OWN_KEYS}


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of both tables and of the tables in them; where both have one, that of `own`."""
    content = base | own
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            content[key] = base[key] | value
    return content


def _describe_damage(path: Path, problem: str) -> str:
    return f"The profile {path} cannot be used: {problem}. Correct the file, or install Longview again."


def _tenths(time_s: float) -> str:
    return f"{time_s:.1f}"


def _normalize_query(query: str) -> str:
    return query.strip().strip("\"'“”‘’").rstrip(".").replace('"', "'")
