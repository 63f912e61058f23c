"""The parts of one application: the library, the loaded models, and what works on both."""

from typing import TYPE_CHECKING

from longview.app.runtime.runtime import Runtime
from longview.app.settings import Settings
from longview.core.lazy import LazyPart
from longview.indexing.sqlite.library import Library

if TYPE_CHECKING:
    from longview.app.files.media import MediaStore
    from longview.app.files.outputs import VideoOutputs
    from longview.app.ingest.indexer import Indexer
    from longview.app.jobs.runner import JobRunner
    from longview.app.qa.answers import Answers
    from longview.app.qa.chapters import ChapterFinder
    from longview.app.qa.locator import Locator
    from longview.app.qa.retriever import Retriever
    from longview.video.decoding.decoder import Decoder


class Parts:
    """The parts of one application, each made when it is first needed. Safe for several threads.

    The packages of `app/` work with them. The page and the command line do not: they call the methods of `Longview`.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the library.

        Raises:
            LibraryUnusable: the library folder cannot be used.
        """
        self.settings = settings
        self.library = Library(settings.library.expanduser().resolve())
        self.runtime = Runtime(settings, self.library)

    @property
    def decoder(self) -> "Decoder":
        """The decoder of videos, whose processes are started when they are needed."""
        return self.runtime.decoder

    @LazyPart
    def media(self) -> "MediaStore":
        """The files of the library."""
        from longview.app.files.media import MediaStore

        return MediaStore(self.library, self.settings.limits, self._exact_decoder, self.settings.cache_bytes)

    def _exact_decoder(self) -> "Decoder":
        """Return the decoder for thumbnails and cuts, which are exact, also where the checkpoint gets key frames only."""
        from longview.video.decoding.decoder import Decoder

        settings = self.settings
        return Decoder(settings.limits, backend=settings.backend, processes=1) if settings.key_frames_only else self.decoder

    @LazyPart
    def outputs(self) -> "VideoOutputs":
        """The files that are written from videos for a user."""
        from longview.app.files.outputs import VideoOutputs

        return VideoOutputs(self._exact_decoder(), self.settings.limits)

    @LazyPart
    def indexer(self) -> "Indexer":
        """What runs the sources of a file."""
        from longview.app.ingest.indexer import Indexer

        return Indexer(self.library, self.media, self.runtime)

    @LazyPart
    def runner(self) -> "JobRunner":
        """What adds files to the queue, and runs them."""
        from longview.app.jobs.runner import JobRunner

        return JobRunner(self.library, self.media, self.indexer, self.settings)

    @LazyPart
    def retriever(self) -> "Retriever":
        """What searches the library."""
        from longview.app.qa.retriever import Retriever

        return Retriever(self.library, self.media, self.runtime)

    @LazyPart
    def locator(self) -> "Locator":
        """What finds all occurrences of a query in a video."""
        from longview.app.qa.locator import Locator

        return Locator(self.library, self.media, self.retriever, self.runtime)

    @LazyPart
    def chapter_finder(self) -> "ChapterFinder":
        """What finds the chapters of a video."""
        from longview.app.qa.chapters import ChapterFinder

        return ChapterFinder(self.library, self.runtime)

    @LazyPart
    def answers(self) -> "Answers":
        """What answers questions."""
        from longview.app.qa.answers import Answers

        return Answers(self.library, self.media, self.retriever, self.runtime, self.chapter_finder)
