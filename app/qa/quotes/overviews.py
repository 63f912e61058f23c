"""Answers from quotes to questions without a topic: lists, languages, speakers, and all that is written or seen."""

import re
from collections.abc import Sequence

from longview.app.qa.quotes.moments import is_standing
from longview.app.qa.quotes.text import (
    NO_SOUND,
    SIGHT_HINT,
    ExtractiveAnswer,
    absence_text,
    cite,
    group_screens,
    quote_line,
    said_once,
)
from longview.app.qa.transcript_coverage import has_sound, transcript_coverage
from longview.app.text.counts import count_text
from longview.core.sources import source_label, traits_of, transcript_sources
from longview.core.time_format import format_clock
from longview.core.timeline import Segment, Span
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.entities import EntityKind, find_entities
from longview.indexing.search.quotes import Quote
from longview.indexing.sqlite.library import Library
from longview.indexing.text.sentences import Sentence, sentences_of

MAX_LISTED_ENTITIES = 100
MAX_LISTED_SCREENS = 40
MAX_LISTED_CAPTIONS = 20
MAX_INTRODUCTIONS = 10
ENTITY_NAMES: dict[EntityKind, str] = {
    "prices": "prices",
    "dates": "dates",
    "names": "names",
    "numbers": "numbers",
    "emails": "e-mail addresses",
    "web": "web addresses",
    "phones": "phone numbers",
}
_INTRODUCTION = re.compile(
    r"\b(?:my name(?: is|['’]s)|i am called|(?-i:I(?: am|['’]m)) (?-i:[A-Z][a-z]+ [A-Z][a-z]+)|"
    r"this is (?-i:[A-Z][a-z]+)\S{0,40} speaking|"
    r"mein name ist|ich heiße|je m['’]appelle|mon nom est|me llamo|mi nombre es)\b|제 이름은|라고 합니다|私の名前は|"
    r"と申します|我叫",
    re.IGNORECASE,
)
"""Words with which speakers introduce themselves."""
_LABEL = re.compile(r"^(?:>>\s?|-\s?)?\[?(?P<name>[A-ZÀ-Þ][A-ZÀ-Þ .'’-]{1,30})\]?:\s")
"""The name of a speaker before a subtitle: `JOHN: …`."""


class OverviewQuotes:
    """Quotes what one video has of a kind."""

    def __init__(self, library: Library, entry: VideoEntry, within: Span | None) -> None:
        self._library, self._entry, self._within = library, entry, within
        self._coverage = transcript_coverage(entry, within)

    def list_entities(self, kinds: Sequence[EntityKind]) -> ExtractiveAnswer:
        """List the distinct prices, dates, names and the like, each with its first sentence; kinds one after another."""
        entities = find_entities(sentences_of(self._segments(transcript_sources())), kinds)
        lines: list[str] = []
        quotes: list[Quote] = []
        for kind in kinds:
            own = [entity for entity in entities if entity.kind == kind]
            limits = " (told by their capital letters and titles)" if kind == "names" else ""
            if not own:
                lines.append(self._no_entities(kind))
                continue
            lines.append(f"{ENTITY_NAMES[kind].capitalize()} that are said or written{limits}, {len(own):,} in all:")
            for entity in own[:MAX_LISTED_ENTITIES]:
                sentence = entity.sentence
                quote = Quote(sentence.span, sentence.text, sentence.source, sentence.language)
                times = f", first of {entity.count:,}" if entity.count > 1 else ""
                lines.append(quote_line(quote, f"{entity.text} ({source_label(sentence.source)}{times})"))
                quotes.append(quote)
            if len(own) > MAX_LISTED_ENTITIES:
                lines.append(f"… and {len(own) - MAX_LISTED_ENTITIES:,} more.")
        # Names that have no capital letters are not told from other words.
        is_unknown = self._coverage.is_empty or "names" in kinds
        return self._answer("\n".join(lines), quotes, found=True if quotes else None if is_unknown else False)

    def _no_entities(self, kind: EntityKind) -> str:
        if kind == "names":
            return absence_text("No names could be told from other words by their form", self._within, self._coverage)
        return absence_text(f"No {ENTITY_NAMES[kind]} are said or written", self._within, self._coverage)

    def languages(self) -> ExtractiveAnswer:
        """Tell the languages of each source, with the first sentence in each."""
        groups: dict[tuple[str, str], list[Segment]] = {}
        for segment in self._segments(transcript_sources()):
            groups.setdefault((segment.source, segment.language or ""), []).append(segment)
        if not any(language for _, language in groups):
            text = absence_text("No language is known of anything said or written", self._within, self._coverage)
            return self._answer(text, [], found=None)
        lines, quotes = [], []
        for (source, language), segments in sorted(
            groups.items(), key=lambda item: (transcript_sources().index(item[0][0]), -len(item[1]))
        ):
            name, first = language_name(language) if language else "Text whose language is not known", segments[0]
            if traits_of(source).is_spoken and not traits_of(source).is_imported and language:
                seconds = sum(segment.span.duration_s for segment in segments)
                label = f"{name} is spoken, {format_clock(seconds)} in all"
            elif traits_of(source).is_screen:
                label = f"{name} is written on the screen, {count_text(len(segments), 'line')}"
            else:
                label = f"{name} in {source_label(source)}, {len(segments):,} in all"
            quotes.append(Quote(first.span, first.text, first.source, first.language))
            lines.append(quote_line(quotes[-1], label))
        return self._answer("\n".join(lines), quotes, found=True)

    def speakers(self) -> ExtractiveAnswer:
        """Quote who says a name or is named by the subtitles, because voices are not told apart."""
        sentences = [item for item in sentences_of(self._segments(transcript_sources())) if traits_of(item.source).is_spoken]
        labels = {match["name"].strip(): item for item in reversed(sentences) if (match := _LABEL.match(item.text))}
        candidates = [item for item in sentences if _INTRODUCTION.search(item.text)]
        introductions = sorted([*labels.values(), *candidates], key=lambda item: item.span)[:MAX_INTRODUCTIONS]
        if not sentences and not has_sound(self._entry):
            return self._answer(NO_SOUND, [], found=None)
        head = "Who is speaking is not known: voices are not told apart here."
        if not introductions:
            if self._coverage.is_empty or not sentences:
                return self._answer(absence_text("Nothing is said", self._within, self._coverage), [], found=None)
            return self._answer(f"{head} Nobody says a name of their own: {self._coverage}.", [], found=None)
        quotes = _as_quotes(introductions)
        return self._answer("\n".join([f"{head} These sentences name a speaker:", *map(quote_line, quotes)]), quotes, found=None)

    def written(self) -> ExtractiveAnswer:
        """Quote all that is written on the screen, in order of time; lines that stand for most of the video come last."""
        lines, quotes = self._screens()
        if not lines:
            text = absence_text("Nothing is written on the screen", self._within, self._coverage)
            if not self._coverage.frames_read:
                text = f"What is written on the screen is not known: {self._coverage}."
            return self._answer(text, [], found=False if self._coverage.frames_read else None)
        return self._answer("\n".join(["Written on the screen:", *lines]), quotes, found=True)

    def seen(self) -> ExtractiveAnswer:
        """Quote the captions, which tell what is seen; else say that this needs a checkpoint that sees, and what is written."""
        captions = [item for item in self._segments(("captions",)) if item.text]
        lines: list[str] = []
        quotes = [Quote(item.span, item.text, item.source, item.language) for item in captions[:MAX_LISTED_CAPTIONS]]
        if quotes:
            lines = ["Seen, as the captions tell:", *map(quote_line, quotes)]
            if len(captions) > len(quotes):
                lines.append(f"… and {len(captions) - len(quotes):,} more captions.")
        elif self._entry.has_frames:
            lines = ["What the pictures show was not looked at."]
        else:
            lines = ["This file has sound only, and no pictures."]
        screen_lines, written_quotes = self._screens()
        if screen_lines:
            lines += ["Written on the screen:", *screen_lines]
        elif self._coverage.frames_read:
            lines.append(f"Nothing is written on the screen: {self._coverage}.")
        hint = SIGHT_HINT if self._entry.has_frames and not captions else ""
        return self._answer("\n".join(lines), [*quotes, *written_quotes], found=True if captions else None, hint=hint)

    def length(self) -> ExtractiveAnswer:
        """Tell the length of the video."""
        return self._answer(f"It is {format_clock(round(self._entry.duration_s))} long.", [], found=True)

    def _screens(self) -> tuple[list[str], list[Quote]]:
        """Return the lines on screen as text and as quotes. What is shown again is quoted once."""
        sentences = sentences_of(self._segments([name for name in transcript_sources() if traits_of(name).is_screen]))
        standing = [item for item in sentences if is_standing(item.span, self._entry.duration_s)]
        passing = group_screens([item for item in sentences if not is_standing(item.span, self._entry.duration_s)])
        distinct = list({quote.text.casefold(): quote for quote in reversed(passing)}.values())[::-1]
        screens = distinct[:MAX_LISTED_SCREENS]
        lines = [*map(quote_line, screens)]
        if len(distinct) > len(screens):
            lines.append(f"… and {len(distinct) - len(screens):,} more; the export of the text on screen has all of them.")
        stands = group_screens(standing)[:MAX_LISTED_SCREENS]
        lines += [quote_line(quote, "on screen most of the time") for quote in stands]
        return lines, [*screens, *stands]

    def _segments(self, sources: Sequence[str]) -> list[Segment]:
        segments = self._library.tracks.segments(self._entry.video_id, within=self._within)
        return said_once([item.segment for item in segments if item.segment.source in sources])

    def _answer(self, text: str, quotes: Sequence[Quote], *, found: bool | None, hint: str = "") -> ExtractiveAnswer:
        return ExtractiveAnswer(text, cite(self._entry, quotes), found, None, self._coverage, hint)


def language_name(code: str) -> str:
    """Return the English name of a language (`de` -> `German`); the code itself if it is unknown."""
    from babel import Locale, UnknownLocaleError

    try:
        name = Locale.parse(code.replace("-", "_")).get_display_name("en")
    except (UnknownLocaleError, ValueError, TypeError):
        name = Locale("en").languages.get(code.split("-")[0].lower())
    return name or code


def _as_quotes(sentences: Sequence[Sentence]) -> list[Quote]:
    return [Quote(item.span, item.text, item.source, item.language) for item in sentences]
