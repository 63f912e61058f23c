"""Tests that no text can stop a process: the time of every regular expression is linear, and a new one is measured too."""

import re

import pytest

from benchmarks.robustness import check_regular_expressions
from benchmarks.robustness.check_regular_expressions import Expression, slowness, source_of
from tests.support.warm_process import run_script

MAX_CHECK_S = 240
"""Time after which the check counts as hung, in seconds; it takes 30 to 60."""


CHECK = f"import sys, {check_regular_expressions.__name__} as check; sys.exit(check.main([]))"


def test_time_of_every_regular_expression_is_linear() -> None:
    result = run_script(CHECK, timeout_s=MAX_CHECK_S)
    problems = [line for line in result.stdout.splitlines() if "**no**" in line or "compile it" in line]
    assert (result.returncode, problems) == (0, []), result.stderr[-2000:]


@pytest.mark.parametrize(
    "pattern",
    [r"\d+ hours", r"(?:a|a)*b", rb"a*b"],
    ids=["number", "nested", "bytes"],
)
def test_quadratic_time_is_found(pattern: str | bytes) -> None:
    assert not slowness(Expression("sample", re.compile(pattern))).is_linear


@pytest.mark.parametrize(
    ("source", "compiled", "hidden"),
    [
        ("import re\nWORD = re.compile('a')\nWORDS = tuple(re.compile(p) for p in 'ab')", 2, 0),
        ("import re\ndef f(text):\n    return re.sub(r'\\s+', ' ', text)", 0, 1),
        ("import re\nclass A:\n    B = re.compile('a')\n    def f(self):\n        return re.compile('b')", 1, 1),
        ("import re\nf = lambda text: re.split('a', text)", 0, 1),
        ("import re\nPARTS = re.split('a', 'bab')", 0, 1),
        ("from re import sub", 0, 1),
        ("import re as expressions", 0, 1),
        ("import re\ndef f(text):\n    return re.escape(text)", 0, 0),
    ],
)
def test_expression_that_no_constant_shows_is_refused(source: str, compiled: int, hidden: int) -> None:
    found = source_of(source, "app/serving/sample.py")
    assert (found.compiled_count, len(found.hidden)) == (compiled, hidden)
