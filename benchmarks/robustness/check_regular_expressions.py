"""Check that the time of every regular expression is linear in the length of the text, whatever the text.

    python -m benchmarks.robustness.check_regular_expressions [PLACE…]

The source is searched for the calls of `re`, so that new ones are found too. An expression that a module compiles is measured on
each family of texts; one that a function makes cannot be found in the module, and is refused unless `DYNAMIC` has a sample of it.
Each row is the worst family of one expression. `PLACE`: only the expressions whose place contains it, as in `subtitles.TAG`.
"""

import ast
import dataclasses
import functools
import importlib
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "core", "indexing", "model", "ui", "video")
SHORT_CHARACTERS, LONG_CHARACTERS = 10_000, 100_000
"""Lengths of the texts, in characters."""
MAX_RATIO = 20
"""Maximum ratio of the times of the two lengths. Linear time has 10, quadratic time 100."""
NEGLIGIBLE_S = 0.05
"""CPU time of the long text up to which the ratio does not matter, in seconds."""
SCREENED_RATIO = 11
"""Maximum ratio of the times of the short text and a tenth of it at which the long one is not measured: the quadratic part of the
time of the short one is at most a ninth of the linear one then, and the ratio for the long one below `MAX_RATIO`. The long one is
not measured either if the short one takes less than a hundredth of `NEGLIGIBLE_S`."""
MAX_CPU_S = 2.0
"""CPU time after which a measurement is stopped, in seconds."""
REPETITIONS = 3
"""Number of measurements if the first one is above the limit; the shortest counts."""
STEMS = (
    "a", " ", "\t", "\n", "\r", "\r\n", "1", "1:", "1,", "1.", "1 ", ". ", "!", "<", "<1:", "<c ", "<think>", "</think>", "{\\",
    "[", "![](", "(", '"', '\\"', '."', "- ", "-", "*", "_", "```", "<|", "&#", "@", "http://", "half a ", "5 - ", "1 hour ",
    "Ab Cd", "あ", "。」", "언제말", "いつ話", "event happens ", "exceed ", "dos mil ", "point x ",
)  # fmt: skip
"""Texts that are repeated up to the length. Expressions have loops on characters, numbers, words, marks and tags."""
BEGINNINGS = (
    ("x", " "), ("x", "!"), ("1", " "), ("from 5", " "), ("[1 - ", "1"), ("a", "\u0301"), ("<think>", "a"), ('"a": "', "\\\\"),
    ("- [", " "), ("when is ", "x "), ("1.", "\n"), ('{"range": "', "1"), ("answer", " "), ("<0 - 1>", "!"),
)  # fmt: skip
"""Texts before the repeated one, which begin what an expression searches for."""
ENDING = "\x00"
"""Character after the repetitions that no expression expects, so that what precedes it is tried in all ways."""

Call = Callable[[re.Pattern[Any], str | bytes], object]
OPERATIONS: Mapping[str, Call] = {
    "finditer": lambda pattern, text: sum(1 for _ in pattern.finditer(text)),
    "match": lambda pattern, text: pattern.match(text),
    "fullmatch": lambda pattern, text: pattern.fullmatch(text),
}


def _shortened_names() -> Iterator[re.Pattern[Any]]:
    from longview.indexing.search.mentions import name_pattern

    yield name_pattern("Street")


def _templates() -> Iterator[re.Pattern[Any]]:
    from longview.model.demo.templates import template_pattern
    from longview.model.engine.checkpoints.checkpoints import find_checkpoint

    yield from map(template_pattern, find_checkpoint("demo").question_templates)


DYNAMIC: Mapping[str, Callable[[], Iterator[re.Pattern[Any]]]] = {
    "indexing/search/mentions.py:name_pattern": _shortened_names,
    "model/demo/templates.py:template_pattern": _templates,
}
"""The functions that make expressions from data, with samples of these."""


@dataclass(frozen=True)
class Expression:
    """A regular expression of the source."""

    place: str
    """Module and name, as in `video.subtitles.TIMING_LINE`."""
    pattern: re.Pattern[Any]


@dataclass(frozen=True)
class Slowness:
    """The time of an expression on its worst family of texts."""

    family: str
    operation: str
    short_s: float
    long_s: float
    """CPU time on the long text, in seconds. If the short one takes next to none, ten times its time."""

    @property
    def ratio(self) -> float:
        """Time of the long text, divided by that of the short one."""
        return self.long_s / max(self.short_s, 1e-9)

    @property
    def is_linear(self) -> bool:
        """Whether the time is within the limits."""
        is_stopped = max(self.short_s, self.long_s) >= MAX_CPU_S
        return self.long_s <= NEGLIGIBLE_S or (self.ratio <= MAX_RATIO and not is_stopped)


# -- finding -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """What one module says about its expressions."""

    path: str
    """Path in the checkout."""
    compiled_count: int
    """Number of calls of `re.compile` outside of functions."""
    hidden: tuple[str, ...]
    """Places of the calls that no constant of the module shows, with the function and the line."""

    @property
    def module(self) -> str:
        """Name of the module."""
        return self.path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")


def sources() -> list[Source]:
    """Return the modules that use regular expressions."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    all_sources = (source_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) for path in paths)
    return [source for source in all_sources if source.compiled_count or source.hidden]


def source_of(text: str, path: str) -> Source:
    """Read the calls of `re` in the text of a module."""
    visitor = _Calls(path)
    visitor.visit(ast.parse(text))
    return Source(path, visitor.compiled_count, tuple(visitor.hidden))


class _Calls(ast.NodeVisitor):
    def __init__(self, path: str) -> None:
        self._path, self._functions = path, [""]
        self.compiled_count, self.hidden = 0, list[str]()

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self._functions.append(getattr(node, "name", "lambda"))
        self.generic_visit(node)
        self._functions.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function  # noqa: N815

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Refuse names of `re` whose calls would not be recognised."""
        if node.module in ("re", "regex"):
            self._hide(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Refuse other names of `re`, for the same reason."""
        if any(alias.name == "regex" or (alias.name == "re" and alias.asname) for alias in node.names):
            self._hide(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Count a call of `re`."""
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
            if function.attr == "compile" and len(self._functions) == 1:
                self.compiled_count += 1
            elif function.attr != "escape" and f"{self._path}:{self._functions[-1]}" not in DYNAMIC:
                self._hide(node)
        self.generic_visit(node)

    def _hide(self, node: ast.AST) -> None:
        name = f" in {self._functions[-1]}" if self._functions[-1] else ""
        self.hidden.append(f"{self._path}:{node.lineno}{name}")  # type: ignore[attr-defined]


def expressions() -> list[Expression]:
    """Return all expressions of the source, and samples of those that are made from data.

    Raises:
        LookupError: a module compiles an expression that is in none of its constants.
    """
    by_pattern: dict[tuple[Any, int], Expression] = {}
    for source in sources():
        module = importlib.import_module(f"longview.{source.module}")
        own = list(_patterns_in(source.module, vars(module), set()))
        if len({id(expression.pattern) for expression in own}) < source.compiled_count:
            raise LookupError(
                f"{source.path} has {source.compiled_count} calls of re.compile, but only {len(own)} in its constants"
            )
        for expression in own:
            by_pattern.setdefault((expression.pattern.pattern, expression.pattern.flags), expression)
    for place, samples in DYNAMIC.items():
        for pattern in samples():
            by_pattern.setdefault((pattern.pattern, pattern.flags), Expression(place, pattern))
    return list(by_pattern.values())


def _patterns_in(place: str, value: Any, seen_ids: set[int]) -> Iterator[Expression]:
    """Yield the expressions in a value: a constant, a collection, or the fields of an object or a class of this project."""
    if isinstance(value, re.Pattern):
        yield Expression(place, value)
        return
    if id(value) in seen_ids:
        return
    seen_ids.add(id(value))
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (tuple, list, set, frozenset)):
        items = [(str(number), item) for number, item in enumerate(value)]
    elif dataclasses.is_dataclass(value) or (isinstance(value, type) and value.__module__.startswith("longview.")):
        items = list(vars(value).items()) if hasattr(value, "__dict__") else []
    else:
        return
    for name, item in items:
        if not name.startswith("__"):
            yield from _patterns_in(f"{place}.{name}", item, seen_ids)


# -- measuring ---------------------------------------------------------------------------------------------------------


@functools.cache
def families() -> dict[str, tuple[str, str]]:
    """Return the families of texts by their names: what begins a text, and what is repeated up to the length."""
    generator = random.Random(1)
    mixed = "".join(generator.choices("aA1 .:,-<>[](){}\"'\\\n\r\t*_`|é。あ", k=LONG_CHARACTERS))
    pairs = [("", stem) for stem in STEMS] + list(BEGINNINGS)
    families = {repr(f"{beginning}{stem}{stem}"): (beginning, stem) for beginning, stem in pairs}
    return families | {"mixed": ("", mixed)}


@functools.cache
def text_of(family: tuple[str, str], characters: int, ending: str = "") -> str:
    """Return the text of a family with that length."""
    beginning, stem = family
    return (beginning + stem * (characters // len(stem) + 1))[: characters - len(ending)] + ending


def slowness(expression: Expression) -> Slowness:
    """Measure an expression on all families; return the slowest one, or the first one that is not linear."""
    worst = Slowness("", "", 0.0, 0.0)
    for name, family in families().items():
        # The ending makes a search no faster; for the others, an expression may match the whole text without it.
        for operation, ending in [*((operation, ENDING) for operation in OPERATIONS), ("match", ""), ("fullmatch", "")]:
            time_s = functools.partial(_time_s, expression.pattern, family, ending, operation)
            result = _measure(time_s, f"{name}{' + end' if ending else ''}", operation)
            if not result.is_linear:
                return result
            worst = max(worst, result, key=lambda item: item.long_s)
    return worst


def _time_s(
    pattern: re.Pattern[Any],
    family: tuple[str, str],
    ending: str,
    operation: str,
    clock: Callable[[], float],
    characters: int,
) -> float:
    text: Any = text_of(family, characters, ending)
    if isinstance(pattern.pattern, bytes):
        text = text.encode()
    start_s = clock()
    try:
        with _stopped_after(MAX_CPU_S):
            OPERATIONS[operation](pattern, text)
    except _Stopped:
        # The timer of the system may fire a tick early.
        return max(MAX_CPU_S, clock() - start_s)
    return clock() - start_s


def _measure(time_s: Callable[[Callable[[], float], int], float], family: str, operation: str) -> Slowness:
    result = Slowness(family, operation, 0.0, 0.0)
    for repetition in range(REPETITIONS):
        # The clock of the CPU time is too coarse for short texts; that of the wall time shows too much, and a ratio too small.
        short_s = time_s(time.perf_counter, SHORT_CHARACTERS)
        is_quick = short_s <= NEGLIGIBLE_S / 100 or (
            # The shortest of several, because a pause in a text this short would hide a large ratio.
            short_s < MAX_CPU_S
            and short_s <= SCREENED_RATIO * min(time_s(time.perf_counter, SHORT_CHARACTERS // 10) for _ in range(REPETITIONS))
        )
        is_known = is_quick or short_s >= MAX_CPU_S
        long_s = 10 * short_s if is_known else time_s(time.process_time, LONG_CHARACTERS)
        new = Slowness(family, operation, short_s, long_s)
        result = min(result, new, key=lambda item: item.long_s) if repetition else new
        if result.is_linear:
            break
    return result


class _Stopped(Exception):
    pass


@contextmanager
def _stopped_after(cpu_s: float) -> Iterator[None]:
    """Raise `_Stopped` in the block after that CPU time; the engine of `re` looks for signals."""

    def stop(*_: object) -> None:
        raise _Stopped

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def main(places: list[str]) -> int:
    """Print a row for each expression, slowest last; return 1 if one is not linear, or one cannot be measured."""
    hidden = [place for source in sources() for place in source.hidden]
    rows: list[tuple[Slowness, Expression]] = []
    for expression in expressions():
        if not places or any(place in expression.place for place in places):
            # If the check hangs, this is the last line.
            print(expression.place, file=sys.stderr, flush=True)
            rows.append((slowness(expression), expression))
    print("| expression | worst family | operation | 100,000 characters (ms) | ratio | linear |\n|---|---|---|---|---|---|")
    for row, expression in sorted(rows, key=lambda pair: (not pair[0].is_linear, pair[0].long_s)):
        times = f"{'> ' if row.long_s >= MAX_CPU_S else ''}{row.long_s * 1000:.1f} | {row.ratio:.1f}"
        print(f"| {expression.place} | `{row.family}` | {row.operation} | {times} | {'yes' if row.is_linear else '**no**'} |")
    for place in hidden:
        print(f"{place}: compile it as a constant of the module, so that this check finds it")
    return 1 if hidden or not all(row.is_linear for row, _ in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
