"""Entities in words: prices, dates, names, numbers, and e-mail, web and phone addresses, as they are said or written.

They are recognised by their form, because no model of named entities is at hand. A name is recognised by its capital letters, or
in Korean and Japanese by the title that follows it.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from longview.indexing.search.quotes import QUESTION_WORDS
from longview.indexing.text.sentences import Sentence
from longview.indexing.text.terms import STOP_WORDS

EntityKind = Literal["prices", "dates", "names", "numbers", "emails", "web", "phones"]

_DATE_LOCALES = ("en", "de", "fr", "es", "it", "pt", "nl")
"""Languages whose names of months and weekdays are recognised; Chinese, Japanese and Korean dates have signs of their own."""
MIN_PHONE_DIGITS = 7
MAX_LABELLED_WORDS = 4
"""Maximum number of words of a name after a colon in a heading."""
_AMOUNT = r"\d++(?:[.,’']\d++|[\u00a0\u202f]\d{3})*+"
_NUMBER_WORDS = (
    r"(?:(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|"
    r"nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)s?|"
    r"(?:ein|eine|zwei|drei|vier|fünf|sechs|sech|sieben|sieb|acht|neun|zehn|elf|zwölf|zwan|und|zig|ßig|hundert|tausend|millionen|"
    r"million|milliarden|milliarde)++|"
    r"deux|trois|quatre|cinq|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize|vingts?|trente|quarante|cinquante|"
    r"soixante|"
    r"cents?|mille|millions|milliards?|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce|veinte|treinta|cuarenta|"
    r"cincuenta|"
    r"sesenta|setenta|ochenta|noventa|cien|ciento|\w{2,10}cient[oa]s|mil|mill[oó]n(?:es)?)(?![^\W_])"
)
_SPELLED = rf"(?<![^\W_]){_NUMBER_WORDS}(?:[ -](?:and |et |y )?{_NUMBER_WORDS}){{0,12}}+"
_CJK_AMOUNT = r"(?:\d[\d,.]*+)?[일이삼사오육칠팔구십백천만억조一二三四五六七八九十百千万億兆]{0,12}+"
_CURRENCY = (
    r"(?:(?:us[ -]|canadian |australian )?dollars?|euros?|pounds?(?: sterling)?|pence|cents?|yen|won|rupees?|rubles?|pesos?|"
    r"bucks|quid|"
    r"francs?|franken|rappen|kronen|kronor|livres|libras|dólares|céntimos|centimes|usd|eur|gbp|chf|jpy|krw)(?![^\W_])"
)
_PRICE = re.compile(
    rf"(?<![\w.,])(?:US|CA|AU|NZ|HK|A|C)?[$€£¥₩₹₽₺]\s?{_AMOUNT}(?:\s?(?:k|m|bn|thousand|million|billion|Mio|Mrd)(?![^\W_]))?"
    rf"|(?<![\w.,]){_AMOUNT}(?:\s(?:hundred|thousand|million|billion|tausend|millionen|mille|millions|mil|millones)(?: de)?)?"
    rf"\s?-?(?:[$€£¥₩₹₽₺]|{_CURRENCY})(?: (?:and |und |et |y )?\d{{1,2}} (?:cents?|centimes|céntimos|pence|rappen)(?![^\W_]))?"
    rf"|{_SPELLED}(?: de)? {_CURRENCY}"
    rf"|(?<![\d.,]){_CJK_AMOUNT}(?<=[\d일이삼사오육칠팔구십백천만억조一二三四五六七八九十百千万億兆])\s?"
    r"(?:달러|유로|원|엔|ドル|ユーロ|円|ウォン|美元|欧元|元)",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    rf"(?<![\w.,]){_AMOUNT}(?::\d++)*+(?:\s?(?:%|thousand|million|billion|percent|per cent|prozent|pour cent|por ciento|"
    rf"퍼센트|パーセント))?|{_SPELLED}",
    re.IGNORECASE,
)
_DAY_MONTH = re.compile(
    r"(?<![\w.,:])(?P<day>\d{1,2})(?:st|nd|rd|th|\.|er|º|°)?[ \u00a0](?:of |de |d[’'])?(?P<month>[^\W\d_]{3,12})\.?"
    r"(?:,?[ \u00a0](?:de |del )?(?P<year>\d{4})(?!\w))?"
)
_SPELLED_DAY = re.compile(
    r"(?<![^\W_])(?:twenty[ -]|thirty[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|"
    r"thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|thirtieth)"
    r" of (?P<month>[^\W\d_]{3,12})",
    re.IGNORECASE,
)
_MONTH_DAY = re.compile(
    r"(?<![^\W_])(?P<month>[^\W\d_]{3,12})\.?[ \u00a0](?P<day>\d{1,2})(?:st|nd|rd|th)?(?![\w:]|[.,]\d)(?:,?[ \u00a0]"
    r"(?P<year>\d{4})(?!\w))?"
)
_MONTH_YEAR = re.compile(r"(?<![^\W_])(?P<month>[^\W\d_]{3,12})[ \u00a0](?:de |del )?(?P<year>(?:1[0-9]|20)\d\d)(?![\w:]|[.,]\d)")
_NUMERIC_DATE = re.compile(
    r"(?<![\w.,:/-])(?:(?:1\d|20)\d\d-(?:0?[1-9]|1[0-2])-(?:3[01]|[12]\d|0?[1-9])"
    r"|(?:3[01]|[12]\d|0?[1-9])[./](?:3[01]|[12]\d|0?[1-9])[./](?:(?:1\d|20)\d\d|\d\d))(?![\w/]|[.,:]\d)"
)
_YEAR = re.compile(
    r"(?<![\w.,:$€£¥₩/-])(?:(?:19|20)\d\d|(?:(?<=in )|(?<=In )|(?<=since )|(?<=year )|(?<=until )|(?<=by )|(?<=seit )|(?<=Jahr )|"
    r"(?<=en )|(?<=depuis )|(?<=desde )|(?<=año )|(?<=around )|(?<=from ))1[0-8]\d\d)(?![\w%:/-]|[.,]\d|\s?(?:[$€£¥₩]|dollars|"
    r"euros|pounds))"
)
_CJK_DATE = re.compile(
    r"(?:\d{4}년 ?)?\d{1,2}월(?: ?\d{1,2}일)?|\d{4}년|(?:\d{4}年)?\d{1,2}月(?:\d{1,2}[日号])?|\d{4}年|[월화수목금토일]요일|"
    r"[月火水木金土日]曜日?"
)
_WORD = re.compile(r"[^\W\d_]++(?:[-'’][^\W\d_]++)*+")
_EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,6}"
    r"|(?<![\w-])[\w-]{1,40}+(?: (?:dot|punkt|point|punto) [\w-]{1,40}+){0,3} (?:at|ät|arobase|arroba) [\w-]{1,40}+"
    r"(?: (?:dot|punkt|point|punto) [\w-]{2,20}+){0,2} (?:dot|punkt|point|punto) "
    r"(?:com|org|net|edu|gov|info|io|de|at|ch|fr|es|uk|eu)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
_WEB = re.compile(
    r"(?:https?://|www\.)[^\s<>\"“”]{1,200}+"
    r"|(?<![\w@.-])(?:[A-Za-z0-9-]{1,63}+\.){1,4}+(?<=\.)(?:com|org|net|edu|gov|io|info|de|at|ch|fr|es|kr|jp|uk|eu|tv)"
    r"(?:/[^\s<>\"“”]{0,200}+)?(?![\w@])",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w.,])\+?\(?\d{1,5}\)?(?:[ ./-]\(?\d{2,6}\)?){1,5}+(?!\w|[.,]\d)")
_TITLED_NAME = re.compile(
    r"[가-힣]{2,4}(?= ?(?:씨|님|교수|박사|대표|회장|장관|의원|시장|대통령|선생)(?![가-힣]{3}))"
    r"|[\u4e00-\u9fff々ァ-ヺー]{1,6}(?=さん|氏|先生|教授|博士|社長|大臣|知事|市長|様)"
)
_SENTENCE_START = re.compile(r"[.!?…:]\s*+[\"'”’“‘«»)\]]*+\s*+\Z")
_TITLE_BEFORE = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Mme|Mlle|Sra)\.\s*+\Z")
"""A title, whose full stop ends no sentence."""
_GERMAN_TITLES = frozenset(["herr", "herrn", "frau", "dr", "professor", "prof"])
_NAME_LINKS = frozenset(["de", "da", "del", "della", "di", "van", "von", "der", "la", "le", "bin", "al", "of"])
"""Small words inside of a name."""
_NO_NAMES_TEXT = """
    i'm i'll i'd i've ok okay mr mrs ms dr prof st sr jr mme mlle sra euro euros cent cents dollar dollars franken yes
    no well so now let let's thank thanks please hello good also here item next first
    ich wir ihr sie er es wenn aber dann hier heute morgen guten danke bitte ja nein je tu il elle nous vous ils elles mais si non
    oui bonjour merci yo él ella nosotros ellos pero si sí no hola gracias en este esta
"""
_NO_NAMES = STOP_WORDS | QUESTION_WORDS | frozenset(_NO_NAMES_TEXT.split())
"""Words with a capital letter that are no name."""


@dataclass(frozen=True)
class Entity:
    """Something that is said or written, with the sentence in which it is first."""

    kind: EntityKind
    text: str
    sentence: Sentence
    count: int
    """Number of times that it is said or written."""


def find_entities(sentences: Sequence[Sentence], kinds: Sequence[EntityKind]) -> tuple[Entity, ...]:
    """Return the distinct entities of some kinds in sentences, in the order in which they are first said or written."""
    mentions: dict[tuple[EntityKind, str], list[tuple[str, Sentence]]] = {}
    longer: dict[Sentence, list[str]] = {}
    # Numbers come last: those of prices and dates are listed with them.
    for kind in sorted(kinds, key=lambda kind: kind == "numbers"):
        places = _names(sentences) if kind == "names" else _by_form(sentences, _FINDERS[kind])
        for text, sentence in places:
            if kind == "numbers" and any(text in other for other in longer.get(sentence, [])):
                continue
            mentions.setdefault((kind, " ".join(text.split()).casefold()), []).append((text, sentence))
            longer.setdefault(sentence, []).append(text)
    entities = [Entity(kind, items[0][0], items[0][1], len(items)) for (kind, _), items in mentions.items()]
    return tuple(sorted(entities, key=lambda entity: entity.sentence.span))


def _by_form(sentences: Sequence[Sentence], finder: Callable[[str], Iterator[str]]) -> Iterator[tuple[str, Sentence]]:
    for sentence in sentences:
        for text in finder(sentence.text):
            yield text.strip(), sentence


def _matches(pattern: re.Pattern[str]) -> Callable[[str], Iterator[str]]:
    return lambda text: (match[0] for match in pattern.finditer(text))


def _dates(text: str) -> Iterator[str]:
    """Yield the dates of a text, the longest form first, in the order in which they stand."""
    months, weekdays = _calendar_words()
    spans: list[tuple[int, int]] = []

    def add(match: re.Match[str]) -> None:
        if not any(start < match.end() and match.start() < end for start, end in spans):
            spans.append(match.span())

    for pattern in (_DAY_MONTH, _SPELLED_DAY, _MONTH_DAY, _MONTH_YEAR):
        for match in pattern.finditer(text):
            day = match.groupdict().get("day")
            if match["month"].lower() in months and (day is None or 1 <= int(day) <= 31):
                add(match)
    for pattern in (_NUMERIC_DATE, _CJK_DATE, _YEAR):
        for match in pattern.finditer(text):
            add(match)
    for match in _WORD.finditer(text):
        # "March" and "May" alone are often no months.
        if match[0].lower() in weekdays:
            add(match)
    yield from (text[start:end].rstrip(".,") for start, end in sorted(spans))


@functools.cache
def _calendar_words() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of months, also abbreviated, and those of weekdays."""
    from babel import Locale

    months, weekdays = set(), set()
    for name in _DATE_LOCALES:
        locale = Locale(name)
        for width in ("wide", "abbreviated"):
            months |= {month.lower().rstrip(".") for month in locale.months["format"][width].values()}
        weekdays |= {day.lower() for day in locale.days["format"]["wide"].values()}
    return frozenset(month for month in months if len(month) > 2), frozenset(weekdays)


def _web_addresses(text: str) -> Iterator[str]:
    for match in _WEB.finditer(text):
        # A full stop or a bracket after an address belongs to the sentence.
        yield match[0].rstrip(".,;:!?)]}'…")


@functools.cache
def _language_names() -> frozenset[str]:
    """Return the English names of languages, which are words such as "French" that are no names of somebody."""
    from babel import Locale

    return frozenset(name.lower() for name in Locale("en").languages.values())


def _phones(text: str) -> Iterator[str]:
    for match in _PHONE.finditer(text):
        if sum(map(str.isdigit, match[0])) >= MIN_PHONE_DIGITS and not _NUMERIC_DATE.search(match[0]):
            yield match[0]


def _numbers(text: str) -> Iterator[str]:
    for match in _NUMBER.finditer(text):
        # "One" and "a" are mostly no numbers, and "und" and "cent" are no numbers alone.
        if match[0].lower() not in ("one", "ones", "ein", "eine", "und", "cent", "cents", "once", "zig"):
            yield match[0]


def _names(sentences: Sequence[Sentence]) -> Iterator[tuple[str, Sentence]]:
    """Yield the names of sentences. A single word that begins a sentence is one if it is a name elsewhere."""
    certain: list[tuple[str, Sentence]] = []
    at_start: list[tuple[str, Sentence]] = []
    for sentence in sentences:
        certain += [(match[0], sentence) for match in _TITLED_NAME.finditer(sentence.text)]
        for name, is_certain in _capitalised_names(sentence):
            (certain if is_certain else at_start).append((name, sentence))
    certain_names = {name for name, _ in certain}
    yield from sorted([*certain, *(item for item in at_start if item[0] in certain_names)], key=lambda item: item[1].span)


def _capitalised_names(sentence: Sentence) -> Iterator[tuple[str, bool]]:
    """Yield the runs of words with a capital letter, and whether they are certainly names."""
    months, weekdays = _calendar_words()
    text = sentence.text
    words = list(_WORD.finditer(text))
    if len(words) > 1 and not any(match[0].islower() and match[0] not in STOP_WORDS | _NAME_LINKS for match in words):
        # In a heading, each word has a capital letter. What follows a colon is mostly a name: "Chair: Margaret Holloway".
        _, colon, rest = text.rpartition(": ")
        if colon and 1 < len(rest.split()) <= MAX_LABELLED_WORDS and all(map(_is_name_word, rest.split())):
            yield rest, True
        return
    index = 0
    while index < len(words):
        run = [words[index]] if _is_name_word(words[index][0]) else []
        index += 1
        while run and index < len(words) and text[run[-1].end() : words[index].start()] in (" ", ". "):
            is_link = words[index][0] in _NAME_LINKS and index + 1 < len(words) and _is_name_word(words[index + 1][0])
            if not (is_link or (_is_name_word(words[index][0]) and text[run[-1].end() : words[index].start()] == " ")):
                break
            run.append(words[index])
            index += 1
        if not run:
            continue
        before = text[: run[0].start()]
        begins = not before.strip("\"'“‘«¿¡- ") or (bool(_SENTENCE_START.search(before)) and not _TITLE_BEFORE.search(before))
        if begins and len(run) > 1 and run[0][0].lower() in _NO_NAMES:
            run, begins = run[1:], False
        name = text[run[0].start() : run[-1].end()].removesuffix("'s").removesuffix("’s")
        lower_name = name.lower()
        if (
            lower_name.removesuffix("s") in weekdays
            or lower_name in _NO_NAMES | weekdays | _language_names()
            or (lower_name in months and not begins)
        ):
            continue
        if sentence.language == "de" and (len(run) == 1 or begins):
            # All nouns have a capital letter, so that the first word of a sentence and a noun look like a name.
            title = _WORD.findall(before)[-1:]
            if title and title[0].lower() in _GERMAN_TITLES:
                yield name, True
            continue
        yield name, not begins or len(run) > 1


def _is_name_word(word: str) -> bool:
    return word[0].isupper() and len(word) > 1 and word.lower() not in _NO_NAMES


_FINDERS: dict[EntityKind, Callable[[str], Iterator[str]]] = {
    "prices": _matches(_PRICE),
    "dates": _dates,
    "numbers": _numbers,
    "emails": _matches(_EMAIL),
    "web": _web_addresses,
    "phones": _phones,
}
