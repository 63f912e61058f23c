"""Evidence sources: what a video shows, what is said in it, what is written. `SOURCES` lists them in the order in which they run.

Each source is one module and one row here: it decides whether it is run, finds segments, and writes its track of the library.
Cheap sources come first, because later ones depend on their result: speech is not recognised where there are subtitles.
"""

from collections.abc import Callable

from longview.app.runtime import Runtime
from longview.app.sources.base import Decision, EvidenceSource, SourceJob, SourceReport, SourceStatus
from longview.app.sources.captions import CaptionSource
from longview.app.sources.speech import SpeechSource
from longview.app.sources.subtitles import SubtitleSource
from longview.indexing.library import Library

__all__ = ["SOURCES", "Decision", "EvidenceSource", "SourceJob", "SourceReport", "SourceStatus"]

SOURCES: dict[str, Callable[[Library, Runtime], EvidenceSource]] = {
    SubtitleSource.name: lambda library, runtime: SubtitleSource(library, runtime.decoder),
    SpeechSource.name: lambda library, runtime: SpeechSource(library, runtime.decoder, runtime),
    CaptionSource.name: CaptionSource,
}
"""The constructor of each source, by its name."""
