"""Evidence sources: what a video shows, what is said in it, what is written. `longview.core.sources` has a row for each.

A source is the module of that name here. Its constant `SOURCE` is the class that decides whether the source is run, finds
segments, and writes its track of the library.
"""

from collections.abc import Callable
from importlib import import_module

from longview.app.ingest.sources.base import Decision, EvidenceSource, NeedsConsent, SourceJob, SourceReport, SourceStatus
from longview.app.runtime.runtime import Runtime
from longview.indexing.sqlite.library import Library

__all__ = ["Decision", "EvidenceSource", "NeedsConsent", "SourceJob", "SourceReport", "SourceStatus", "source_class"]


def source_class(name: str) -> Callable[[Library, Runtime], EvidenceSource]:
    """Return the class of a source in `longview.core.sources.SOURCES`, whose module is imported first."""
    source: Callable[[Library, Runtime], EvidenceSource] = import_module(f"{__name__}.{name}").SOURCE
    return source
