"""What is imported or made when it is first used, because all of it together takes a second and hundreds of megabytes."""

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


def lazy_names(package: str, names_by_module: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module (PEP 562) that has names of other modules.

    `names_by_module`: the names of each module. A name is not stored: whoever replaces it in its own module replaces it here.
    """
    modules = {name: module for module, names in names_by_module.items() for name in names}

    def look_up(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return look_up


class LazyPart(Generic[T]):
    """A property that is made when it is first read, once, whichever threads read it.

    `functools.cached_property` has no lock from Python 3.12 on.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self.__doc__ = make, make.__doc__
        self._lock = threading.RLock()
        """One lock for all objects, each of which is made in milliseconds."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        """Return the part of an object; later, Python finds it in the object itself."""
        if instance is None:
            return self
        with self._lock:
            parts = instance.__dict__
            if self._name not in parts:
                parts[self._name] = self._make(instance)
            return parts[self._name]
