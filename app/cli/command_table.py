"""The table of commands: what `longview --help` prints of each, and in which module it is."""

from dataclasses import dataclass

GROUPS = ("Everyday", "Library", "Models and machine")
"""Titles of the groups of commands in `longview --help`, in its order."""
FOR_PROGRAMS = (
    "With --json, a command prints one JSON document on stdout, also about an error. Exit code 1: it failed; 2: wrong usage; "
    "130: it was stopped."
)
"""Paragraph of `longview --help` for those who call it from programs."""
_TRANSCRIPT = {"--words": "--transcript", "--no-words": "--no-transcript"}
RENAMED_OPTIONS = {"ask": _TRANSCRIPT, "index": _TRANSCRIPT, "export": {"--words": "--word-times"}}
"""Options of earlier versions that still work, by command, and their present names."""


@dataclass(frozen=True)
class CommandSummary:
    """What is known of a command without its module."""

    group: str
    """One of `GROUPS`."""
    module: str
    """Name of its module in this package."""
    summary: str
    """First paragraph of its help."""


COMMANDS: dict[str, CommandSummary] = {
    "serve": CommandSummary("Everyday", "serve", "Serve the browser interface, on this machine only."),
    "index": CommandSummary(
        "Everyday",
        "indexing",
        "Read subtitles, recognise speech, read the text on screen, caption the videos, and add all of it to the library.",
    ),
    "search": CommandSummary("Everyday", "search", "Search what is shown, said and written in the whole library."),
    "ask": CommandSummary("Everyday", "ask", "Ask about one video, several videos, or the whole library."),
    "locate": CommandSummary("Everyday", "search", "Find all occurrences of a query, or report its absence."),
    "caption": CommandSummary("Everyday", "captions", "Print a video's captions."),
    "chapters": CommandSummary("Everyday", "captions", "Print a video's chapters, in YouTube's form, and a summary."),
    "transcript": CommandSummary("Everyday", "transcripts", "Print what is said in a video, with times."),
    "export": CommandSummary(
        "Everyday",
        "export",
        "Export captions, subtitles, speech or screen text of a video; by default the first of these that it has.",
    ),
    "cut": CommandSummary("Everyday", "export", "Cut out a part of a video, starting at a key frame."),
    "contact-sheet": CommandSummary("Everyday", "export", "Write an image of thumbnails with their times."),
    "list": CommandSummary("Library", "library", "Show the videos of the library."),
    "info": CommandSummary("Library", "library", "Show one video: its file, what was found in it, and what can be done next."),
    "rename": CommandSummary("Library", "library", "Give a video another title; its file keeps its name."),
    "jobs": CommandSummary(
        "Library", "jobs", "List the queue of files to index: what runs, how long it takes, what waits, and what failed and why."
    ),
    "subtitles": CommandSummary(
        "Library",
        "transcripts",
        "Add a subtitle file to a video. A transcript without times gets those of the recognised speech.",
    ),
    "versions": CommandSummary(
        "Library",
        "library",
        "Show what made the tracks of a video: those that are searched, and earlier ones, which `export --version` writes.",
    ),
    "remove": CommandSummary(
        "Library", "library", "Remove a video from the library, or bring it back within 24 hours; its file stays."
    ),
    "relink": CommandSummary("Library", "backup", "Find moved and renamed video files by their content, and set their paths."),
    "backup": CommandSummary("Library", "backup", "Write the library into one file, also while it is in use, and read it back."),
    "restore": CommandSummary(
        "Library", "backup", "Restore a library from a back-up into a new or empty folder, or in the place of another one."
    ),
    "check": CommandSummary(
        "Library",
        "check",
        "Check database, vectors, caches, weights and video files; say what is broken, and repair it.",
    ),
    "models": CommandSummary(
        "Models and machine",
        "models",
        "List the checkpoints on this machine, what memory each needs, and what is recommended for this machine.",
    ),
    "plan": CommandSummary(
        "Models and machine",
        "plan",
        "Show what `index` would do, and how long it and other tasks would take; with --verbose also frames, tokens and memory.",
    ),
    "doctor": CommandSummary("Models and machine", "check", "Check this installation and report problems."),
    "eval": CommandSummary(
        "Models and machine",
        "evaluate",
        "Measure accuracy on rendered videos, on synthetic speech, or on your own labels.",
    ),
}
"""All commands in the order of `longview --help`; `tests/app/cli/test_console.py` compares them with the modules."""
