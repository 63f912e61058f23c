"""Evidence sources: what a video shows, what is said in it, what is written. `SOURCES` lists them in the order in which they run.

Each source is one module and one row here: it decides whether it is run, finds segments, and writes its track of the library.
Cheap sources come first, because later ones depend on their result: speech is not recognised where there are subtitles.
"""

from longview.app.ingest.sources.base import Decision, EvidenceSource, NeedsConsent, SourceJob, SourceReport, SourceStatus
from longview.app.ingest.sources.captions import CaptionSource
from longview.app.ingest.sources.screen_text import ScreenTextSource
from longview.app.ingest.sources.speech import SpeechSource
from longview.app.ingest.sources.subtitles import SubtitleSource

__all__ = ["SOURCES", "Decision", "EvidenceSource", "NeedsConsent", "SourceJob", "SourceReport", "SourceStatus"]

SOURCES: dict[str, type[SubtitleSource] | type[SpeechSource] | type[ScreenTextSource] | type[CaptionSource]] = {
    source.name: source for source in (SubtitleSource, SpeechSource, ScreenTextSource, CaptionSource)
}
"""The class of each source, by its name."""
