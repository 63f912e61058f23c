"""Sidecars: subtitle files beside a video, and what their names say of the language."""

import re
import unicodedata
from pathlib import Path

from longview.video.language_tags import CODES, language_code
from longview.video.probing.guard import VIDEO_SUFFIXES

SUBTITLE_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa")
"""Suffixes of subtitle files, in lower case."""
FLAGS = frozenset({"forced", "sdh", "cc", "default", "full", "signs", "songs", "dialogue", "commentary", "auto", "orig"})
"""Parts of a file name that say which subtitles a file has, but not their language."""
HEARING_IMPAIRED = "hi"
"""Part of a file name that stands for the hearing-impaired after a language, and otherwise for Hindi."""
LANGUAGE_JOINT = re.compile("[-_]")


def find_sidecars(video_path: Path) -> tuple[Path, ...]:
    """Find the subtitle files of a video in its folder: those with its name, and those with its name and further parts.

    A file that has the longer name of another video in the folder belongs to that video. Files without further parts are first;
    the others are in the order of their names.
    """
    stem = _comparable(video_path.stem)
    try:
        files = [path for path in video_path.parent.iterdir() if path.is_file()]
    except OSError:
        return ()
    others = [_comparable(path.stem) for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    longer = [other for other in others if other.startswith(f"{stem}.")]
    sidecars = [
        path
        for path in files
        if path.suffix.lower() in SUBTITLE_SUFFIXES
        and _is_named_after(path, stem)
        and not any(_is_named_after(path, other) for other in longer)
    ]
    return tuple(sorted(sidecars, key=lambda path: (_comparable(path.stem) != stem, path.name)))


def _comparable(name: str) -> str:
    # macOS stores the letters and accents of file names as separate characters.
    return unicodedata.normalize("NFC", name).casefold()


def _is_named_after(path: Path, stem: str) -> bool:
    return f"{_comparable(path.stem)}.".startswith(f"{stem}.")


def language_in(file_name: str) -> str | None:
    """Return the language that the last part of a file's name before the suffix states."""
    parts = [part.lower() for part in file_name.split(".")[1:-1] if part.lower() not in FLAGS]
    if len(parts) > 1 and parts[-1] == HEARING_IMPAIRED and _is_language(parts[-2]):
        parts.pop()
    return language_code(parts[-1]) if parts and _is_language(parts[-1]) else None


def _is_language(part: str) -> bool:
    return LANGUAGE_JOINT.split(part)[0] in CODES
