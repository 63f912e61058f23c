"""Joining of the page's modules into one script: a browser that fetches fifty files of one server asks six at a time.

The files stay plain modules for those who edit them, and no program has to build anything: the server joins them once, when it
starts. Imports and exports have the few forms that the modules use; any other form is an error.
"""

import re
from collections.abc import Iterable, Mapping
from posixpath import dirname, join, normpath

IMPORT = re.compile(r"^import (?:\{(?P<names>[^{}]++)\} from )?'(?P<path>\.\.?/[^']++)';$", re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (?P<name>\w++))", re.MULTILINE)
RENAMING = re.compile(r"\b(\w++) as (\w++)")
OTHER_FORM = re.compile(r"^(?:import|export)\b.*+", re.MULTILINE)
"""An import or export that is left when the known forms are replaced."""


def bundle(modules: Mapping[str, str], entries: Iterable[str]) -> str:
    """Return one module that runs the modules `entries`, by their paths, and before each what it imports.

    Each module keeps a scope of its own. Raises ValueError for a form of import or export that is not known, for a module that is
    not there, and for modules that import each other.
    """
    joined: list[str] = []
    order: dict[str, bool] = {}

    def add(path: str) -> None:
        if order.get(path):
            return
        if path in order:
            way = ", ".join(each for each, is_done in order.items() if not is_done)
            raise ValueError(f"The module {path} imports itself, by way of: {way}.")
        if path not in modules:
            raise ValueError(f"There is no module {path}.")
        order[path] = False
        for imported in IMPORT.finditer(modules[path]):
            add(_resolved(path, imported["path"]))
        order[path] = True
        joined.append(_scope(path, modules[path]))

    for entry in entries:
        add(entry)
    return "\n".join(["const modules = {};", *joined])


def _resolved(importer: str, path: str) -> str:
    return normpath(join(dirname(importer), path))


def _scope(path: str, source: str) -> str:
    """Return a module as a function that is called at once and returns what the module exports."""

    def bind(imported: re.Match[str]) -> str:
        if not imported["names"]:
            return ""
        names = RENAMING.sub(r"\1: \2", imported["names"])
        return f"const {{{names}}} = modules['{_resolved(path, imported['path'])}'];"

    exports = ", ".join(exported["name"] for exported in EXPORT.finditer(source))
    body = EXPORT.sub("", IMPORT.sub(bind, source))
    if other := OTHER_FORM.search(body):
        raise ValueError(f"The module {path} has a form of import or export that cannot be joined: {other.group()}")
    return f"// {path}\nmodules['{path}'] = (() => {{\n{body}\nreturn {{ {exports} }};\n}})();"
