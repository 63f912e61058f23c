"""The facade hides the parts of the application from the page and the command line; import-linter cannot see attributes."""

import ast
from pathlib import Path

import pytest

import longview

PACKAGE = Path(longview.__file__).parent
INTERFACES = ("app/cli", "ui")


@pytest.mark.parametrize("folder", INTERFACES)
def test_page_and_command_line_reach_for_no_part_of_the_application(folder: str) -> None:
    modules = sorted((PACKAGE / folder).rglob("*.py"))
    uses = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "parts"
    ]
    assert modules and not uses, f"give `app/service.py:Longview` a method instead: {', '.join(uses)}"
