"""Times in texts: parse a time, and find the references to times in a question."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from longview.core.timeline import Span

_NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
} | {
    "thirty": 30,
    "forty": 40,
    "forty-five": 45,
    "fifty": 50,
    "sixty": 60,
    "ninety": 90,
    "a": 1,
    "an": 1,
    "half a": 0.5,
    "half an": 0.5,
}
# The repetitions are possessive, and a number begins where no digit precedes it, so that the time is linear in the length of the
# text. Texts that are searched for times are written by anyone: an answer quotes subtitles.
_WORDS = "|".join(sorted((re.escape(word).replace("\\ ", r"\s++") for word in _NUMBER_WORDS), key=len, reverse=True))
_NUMBER = rf"(?:(?<!\d)\d++(?:[.,]\d++)?|\b(?:{_WORDS})\b)(?:\s++and\s++a\s++half)?"
# The word of a unit may follow a space or a hyphen, its letter only the number itself: "2-minute mark", "3m20s".
_HOUR = r"(?:(?:[\s-]*+(?:hours?|hrs?|stunden?|heures?|horas?)|h)(?![a-z])|\s*+(?:시간|時間))"
_MINUTE = r"(?:(?:[\s-]*+(?:minut(?:es?|en|os?)|mins?)|m)(?![a-z])|\s*+[분分])"
_SECOND = r"(?:(?:[\s-]*+(?:second(?:s|es?)?|secs?|sekunden?|segundos?)|s)(?![a-z])|\s*+[초秒])"
_UNIT = (
    r"(?:(?:hours?|hrs?|stunden?|heures?|horas?|minut(?:es?|en|os?)|mins?|second(?:s|es?)?|secs?|sekunden?|segundos?|[hms])(?![a-z])"
    r"|시간|時間|[분分초秒])"
)
_AFTER = r"after|since|nach|ab|seit|après|depuis|después de|desde|tras"
_BEFORE = r"before|until|till|vor|avant|antes de"
_LATER = r"\s*+(?:の)?(?:이후|후|다음|뒤|부터(?!\s*+\d)|以降|以後|後|あと|より後|から(?!\s*+\d))"
_EARLIER = r"\s*+(?:の)?(?:이전|전|以前|前|より前)"
_CLOCK = r"(?<![\d:.])\d{1,3}(?::[0-5]\d){1,2}+(?:[.,]\d++)?+(?!\d|:\d)"
_SEPARATOR = r"(?:\s*+(?:,\s*+)?|\s++and\s++)"
_SPELLED = (
    rf"(?:{_NUMBER}{_HOUR}(?:{_SEPARATOR}{_NUMBER}{_MINUTE})?(?:{_SEPARATOR}{_NUMBER}{_SECOND})?"
    rf"|{_NUMBER}{_MINUTE}(?:{_SEPARATOR}{_NUMBER}{_SECOND})?"
    rf"|{_NUMBER}{_SECOND})"
)
_TIME = rf"(?:{_CLOCK}|{_SPELLED})"
_REFERENCES = re.compile(
    # A range, whose first time may have no unit of its own: "between 12 and 20 seconds", "from 1 to 2 minutes".
    rf"(?:(?P<range_word>\bbetween|\bfrom|\bduring|\bzwischen|\bvon|\bentre|\bde|\bdesde)\s*+)?"
    rf"(?P<first>{_TIME}|(?<![\w.:]){_NUMBER}(?!\s*+{_UNIT}))"
    rf"\s*+(?P<joint>and|to|until|till|through|und|bis|et|à|jusqu['’]à|y|a|hasta|부터|에서|와|과|から|と|-|–|—)\s*+(?P<second>{_TIME})"
    r"(?:\s*+(?:까지|まで|の間|사이))?"
    # A range without units, unless a word follows that the numbers could count: "between 12 and 20?".
    r"|\b(?P<bare_word>between|from)\s++(?P<bare_first>\d++(?:\.\d++)?)\s*+(?:and|to|-|–)\s*+(?P<bare_second>\d++(?:\.\d++)?)"
    r"(?=\s*+(?:[?!.,]|$))"
    rf"|\b(?P<edge>first|last)\s++(?P<length>{_TIME}|{_UNIT})"
    rf"|\b(?:(?P<after>{_AFTER})|(?P<before>{_BEFORE}))\s++(?:the\s++|las?\s++|les?\s++)?(?P<bound>{_TIME})(?P<mark>\s++mark\b)?"
    rf"|(?P<later_bound>{_TIME}){_LATER}|(?P<earlier_bound>{_TIME}){_EARLIER}"
    rf"|(?P<from_end>{_TIME})\s++(?:before|from)\s++the\s++end\b"
    r"|\b(?P<unit_first>hour|minute|second|minuto|segundo|sekunde|seconde)\s++(?P<count>\d++(?:\.\d++)?)\b"
    rf"|(?P<point>{_TIME})",
    re.IGNORECASE,
)
_ONE_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_ONE_CLOCK = re.compile(_CLOCK)
_ONE_SPELLED = re.compile(_SPELLED, re.IGNORECASE)
_ONE_UNIT = re.compile(_UNIT, re.IGNORECASE)
_LAST_UNIT = re.compile(rf"{_UNIT}\Z", re.IGNORECASE)
_UNIT_SECONDS = tuple(
    (re.compile(rf"({_NUMBER}){unit}", re.IGNORECASE), seconds) for unit, seconds in ((_HOUR, 3600), (_MINUTE, 60), (_SECOND, 1))
)
"""The number of each unit in a spelled time, and the seconds of the unit."""
_DURATION_PREFIX = re.compile(r"\b(?:than|for|lasts?|lasting|every|takes?|within|over)\s++\Z", re.IGNORECASE)
"""Words before a duration, which is not a timestamp: "longer than 5 seconds", "for two minutes"."""
_TIME_PREFIX = re.compile(r"\b(?:at|around|about|near|by)\s++\Z", re.IGNORECASE)
_AMBIGUOUS = re.compile(r"(?:half\s++)?an?\s++(?:second|minute|hour)|(?<!\d)\d++[hm]|(?<!\d)\d{4,}+s", re.IGNORECASE)
"""Text that is a time only after a preposition such as "at": "a second dog", "ten an hour", "the 100m race", "a 1920s car"."""
_MINUS = re.compile(r"(?:^|\s)[-−]\Z")
_WHITE_SPACE = re.compile(r"\s++")
MAX_PREFIX_CHARACTERS = 40
"""Maximum length of what is read before a time to decide what the time stands for, in characters."""


def _number(text: str) -> float:
    words = _WHITE_SPACE.sub(" ", text.strip().lower())
    half = 0.5 if words.endswith(" and a half") else 0.0
    words = words.removesuffix(" and a half")
    return half + float(_NUMBER_WORDS[words] if words in _NUMBER_WORDS else words.replace(",", "."))


def parse_time(text: str) -> float:
    """Parse a time into seconds: `75`, `1:15`, `1:02:03.5`, `2 minutes`, `1h 5m`, `two minutes`.

    Raises:
        ValueError: the text is not a time.
    """
    seconds = _seconds(text.strip())
    if seconds is None or not math.isfinite(seconds):
        raise ValueError(
            f"“{text.strip()}” is not a time: write seconds (75), a clock time (1:15 or 1:02:03.5) or words (2 minutes)"
        )
    return seconds


def _seconds(text: str) -> float | None:
    if _ONE_NUMBER.fullmatch(text):
        return _number(text)
    if _ONE_CLOCK.fullmatch(text):
        seconds = 0.0
        for part in text.replace(",", ".").split(":"):
            seconds = seconds * 60 + float(part)
        return seconds
    if _ONE_SPELLED.fullmatch(text):
        matches = ((pattern.search(text), size) for pattern, size in _UNIT_SECONDS)
        return sum(_number(match[1]) * size for match, size in matches if match)
    return None


@dataclass(frozen=True)
class TimeReference:
    """A time or range that a text refers to. The span of a single time has length 0."""

    start_s: float
    """Its start, in seconds; infinite if it is counted from the end of a video that is not known."""
    end_s: float
    """Its end, in seconds; infinite if it is that of a video that is not known."""
    text_start: int
    """Index of the first character of the reference in the text."""
    text_end: int
    """Index after its last character."""
    in_seconds: str
    """The reference in seconds: `between 12.0 and 20.0 seconds`. `{}` is the placeholder for a single time."""
    is_point: bool = False
    """Whether the reference is a single time, not a range."""
    before_end_s: float | None = None
    """Time from its start to the end of the video, in seconds, if that is what the text states."""

    def in_video(self, duration_s: float) -> "TimeReference":
        """Return the reference in a video of that length, in seconds. Ranges are clipped to it.

        Single times are not, and may be negative, so that a caller can reject them.
        """
        if self.is_point:
            time_s = self.start_s if self.before_end_s is None else duration_s - self.before_end_s
            return replace(self, start_s=time_s, end_s=time_s)
        start_s = self.start_s if self.before_end_s is None else max(0.0, duration_s - self.before_end_s)
        return replace(self, start_s=start_s, end_s=max(start_s, min(self.end_s, duration_s)))

    @property
    def is_known(self) -> bool:
        """Whether start and end are known: they do not depend on the end of a video that is not known."""
        return math.isfinite(self.start_s) and math.isfinite(self.end_s)

    @property
    def span(self) -> Span:
        """The span of a reference that `is_known`."""
        return Span(self.start_s, self.end_s)


def find_times(text: str, *, duration_s: float | None = None) -> tuple[TimeReference, ...]:
    """Find every time and range in a text, in reading order. `duration_s`: see `TimeReference.in_video`; None: no video is known.

    The parser supports clock times, spelled-out times, `between A and B`, `from A to B`, `A-B`, `after A`, `before A`,
    `the first/last A`, `A before the end`, and `minute N`; ranges, sides and units also in German, French, Spanish, Korean and
    Japanese.
    """
    references = []
    for match in _REFERENCES.finditer(text):
        if match["point"] and not _is_timestamp(match):
            continue
        try:
            reference = _reference(match)
        except ValueError:
            # The number has too many digits to be finite.
            continue
        if reference is not None:
            references.append(reference if duration_s is None else reference.in_video(duration_s))
    return tuple(references)


def known_times(text: str) -> tuple[TimeReference, ...]:
    """Find the times and ranges in a text about no video in particular, without those that depend on the end of a video."""
    return tuple(reference for reference in find_times(text) if reference.is_known)


def replace_times(text: str, references: Sequence[TimeReference], words_of: Callable[[TimeReference], str]) -> str:
    """Return a text in which the times of `find_times` are replaced by the words that `words_of` returns for them."""
    parts: list[str] = []
    end = 0
    for reference in references:
        parts += [text[end : reference.text_start], words_of(reference)]
        end = reference.text_end
    return "".join([*parts, text[end:]])


def _is_timestamp(match: re.Match[str]) -> bool:
    """Whether a single time is a timestamp, and not a duration."""
    if _is_after(_DURATION_PREFIX, match):
        return False
    return not _AMBIGUOUS.fullmatch(match["point"]) or _is_after(_TIME_PREFIX, match)


def _is_after(prefix: re.Pattern[str], match: re.Match[str]) -> bool:
    """Whether the text up to a single time ends with a prefix."""
    start = match.start("point")
    return bool(prefix.search(match.string, max(0, start - MAX_PREFIX_CHARACTERS), start))


def _reference(match: re.Match[str]) -> TimeReference | None:
    group = match.groupdict()
    start, end = match.span()
    if group["from_end"]:
        before_end_s = parse_time(group["from_end"])
        return TimeReference(math.inf, math.inf, start, end, "{} seconds", is_point=True, before_end_s=before_end_s)
    if group["point"] or group["unit_first"]:
        if group["unit_first"]:
            time_s = parse_time(f"{group['count']} {group['unit_first']}")
        else:
            time_s = parse_time(group["point"]) * (-1 if _is_after(_MINUS, match) else 1)
        return TimeReference(time_s, time_s, start, end, "{} seconds", is_point=True)
    if group["bare_word"]:
        low, high = sorted((parse_time(group["bare_first"]), parse_time(group["bare_second"])))
        return TimeReference(low, high, start, end, f"between {low:.1f} and {high:.1f} seconds", is_point=low == high)
    if group["second"]:
        second = group["second"]
        if not group["range_word"] and (seconds := _seconds(f"{group['first']} and {second}")) is not None:
            # "2 minutes and 12 seconds" is one time.
            return TimeReference(seconds, seconds, start, end, "{} seconds", is_point=True)
        unit = _LAST_UNIT.search(second)
        first = group["first"]
        if _ONE_NUMBER.fullmatch(first):
            if unit is None:
                return None
            first = f"{first} {unit[0]}"
        low, high = sorted((parse_time(first), parse_time(second)))
        word = (group["range_word"] or "between").lower()
        # Checkpoints are asked in English.
        word = word if word in ("between", "from", "during") else "between"
        joint = "and" if word == "between" else "to"
        return TimeReference(low, high, start, end, f"{word} {low:.1f} {joint} {high:.1f} seconds", is_point=low == high)
    if group["length"]:
        length = group["length"]
        seconds = parse_time(f"1 {length}" if _ONE_UNIT.fullmatch(length) else length)
        in_seconds = f"{group['edge']} {seconds:.1f} seconds"
        if group["edge"].lower() == "first":
            return TimeReference(0.0, seconds, start, end, in_seconds, is_point=seconds == 0)
        return TimeReference(math.inf, math.inf, start, end, in_seconds, before_end_s=seconds)
    is_after = bool(group["after"] or group["later_bound"])
    bound = parse_time(group["bound"] or group["later_bound"] or group["earlier_bound"])
    side = (group["after"] or group["before"] or "").lower()
    if side not in ("after", "since", "before", "until", "till"):
        side = "after" if is_after else "before"
    start_s, end_s = (bound, math.inf) if is_after else (0.0, bound)
    return TimeReference(start_s, end_s, start, end, f"{side} {bound:.1f} seconds", is_point=bound == 0 and not is_after)
