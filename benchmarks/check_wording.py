"""List phrases that the project does not use, in code, messages and documents.

    python -m benchmarks.check_wording

A phrase may be broken by the end of a line, of a comment or of a string. Tests are not searched: they quote what users ask.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("app", "benchmarks", "core", "indexing", "installation", "model", "ui", "video")
SUFFIXES = frozenset({".css", ".html", ".js", ".py", ".toml"})
UNSEARCHED = frozenset({"CHANGELOG.md", "regular_expressions.md", Path(__file__).name})
"""Names of files that are not searched: history, a generated document, and this list."""
PHRASES: Mapping[str, str] = {
    "go on": "resume, continue",
    "goes on": "resumes, continues",
    "made again": "rebuilt",
    "taken for": "considered",
    "speak for": "support",
    "speaks for": "supports",
    "what came of": "the outcome of",
    "is no": "is not a",
    "people": "users, speakers, readers",
    "no news": "say what does not happen",
}
"""Phrases, with what to write instead."""
ALLOWED: Mapping[str, str] = {
    "there is no": "standard English for something that does not exist",
    "is no longer": "standard English for a state that has ended",
    "(?:people|persons|men|women|children|animals|cars)": "a question that users ask",
    "(?:which|what|all) (?:people|persons)": "a question that users ask",
    "people (?:speak|talk|are (?:speaking|talking))": "a question that users ask",
    "one people person role": "words that are left out of the search for quotes; without this one, search finds other sentences",
}
"""Texts with a phrase that stay, with the reason."""
_GAP = r"""[\s"']++(?:#\s++|//\s++|[fr]*+["'])?+"""


def _expression(texts: Sequence[str]) -> re.Pattern[str]:
    """Return the expression of whole words; the words of a text may be on two lines."""
    choices = (_GAP.join(map(re.escape, text.split(" "))) for text in texts)
    return re.compile(rf"(?<!\w)(?:{'|'.join(choices)})(?!\w)", re.IGNORECASE)


PHRASE, EXCEPTION = _expression(tuple(PHRASES)), _expression(tuple(ALLOWED))


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the phrases of a text that are not allowed, each with the number of its line."""
    allowed_spans = [match.span() for match in EXCEPTION.finditer(text)]
    for match in PHRASE.finditer(text):
        if not any(start <= match.start() and match.end() <= end for start, end in allowed_spans):
            yield text.count("\n", 0, match.start()) + 1, match.group()


def files() -> Iterator[Path]:
    """Yield the files of code and the documents of this checkout."""
    for folder in FOLDERS:
        yield from sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
    yield from sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))


def main() -> int:
    """Print each finding as `file:line: phrase`, and what to write instead; return 1 if there is one."""
    count = 0
    for path in files():
        if path.name in UNSEARCHED:
            continue
        for line, phrase in findings(path.read_text(encoding="utf-8")):
            count += 1
            instead = PHRASES.get(" ".join(phrase.lower().split()), "as for the phrase on one line")
            print(f"{path.relative_to(ROOT)}:{line}: “{' '.join(phrase.split())}”; write: {instead}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
