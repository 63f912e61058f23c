"""Kinds of questions that are answered with quotes: about a time, about all mentions of a topic, about the whole, about looks, or
about anything else that is said or shown."""

import re
from dataclasses import dataclass
from typing import Literal

from longview.indexing.quotes import QUESTION_WORDS
from longview.indexing.terms import STOP_WORDS, query_terms
from longview.model.tasks.question import Question
from longview.video.time_text import find_times, replace_times
from longview.video.timeline import Span

QuestionKind = Literal["time", "mentions", "summary", "looks", "content"]

_SAYING = (
    r"mention(?:ed|s)?|said|sa(?:y|ys)|talk(?:ed|s|ing)? about|discuss(?:ed|es)?|br(?:ing|ings|ought) up|c(?:ome|omes|ame) up|"
    r"named|spoken (?:of|about)|refer(?:red|s)? to|quoted|cited|shown|displayed|visible|on screen|appears?|shows? up|seen"
)
_SPACE = r"(?<!\s)\s++"
"""White space after a topic. Without the condition, each space of a run would be tried as its beginning."""
_MENTIONS = tuple(
    re.compile(rf"\A(?:{pattern})", re.IGNORECASE)
    for pattern in (
        # "When is X mentioned?", "When does she bring up X?", "How often is X mentioned?", "Where do they talk about X?"
        r"(?:when|where(?: in the video)?|how (?:often|many times)|at (?:what|which) (?:time|point|moment)s?)\s++"
        rf"(?:is|are|was|were|does|do|did|has|have|gets?)\s++(?P<topic>.+?){_SPACE}(?:been\s++|get\s++)?(?:{_SAYING})",
        r"(?:when|where(?: in the video)?|how (?:often|many times)|at (?:what|which) (?:time|point|moment)s?)\s++"
        r"(?:does|do|did|has|have)\s++(?:he|she|it|they|we|i|you|someone|somebody|anyone|anybody|the \w++)\s++"
        rf"(?:{_SAYING})\s++(?P<topic>.+)",
        rf"wann (?:wird|werden|wurde|wurden)\s++(?P<topic>.+?){_SPACE}(?:erwähnt|genannt|gesagt|gezeigt|angesprochen|besprochen)",
        r"wann (?:erwähnt|nennt|sagt|zeigt)\s++(?:er|sie|man|jemand)\s++(?P<topic>.+)",
        r"¿?\s*+cuándo se (?:menciona|habla de|dice|muestra|nombra)n?\s++(?:a\s++)?(?P<topic>.+)",
        r"quand (?:est-ce qu[’']on |parle-t-on d[e’']|mentionne-t-on |est mentionnée? )\s*+(?P<topic>.+)",
        r"(?P<topic>.+?)(?:은|는|이|가|을|를)?(?<!\s)\s*+언제\s*+(?:언급|말|나오|등장|나와|이야기)\S{0,40}",
        r"(?P<topic>.+?)(?:は|が|を)?(?:いつ|どこで)(?:言及|話|出|登場|触れ)\S{0,40}",
        r"(?:什么时候|何时|哪里)(?:提到|说到|讲到|出现|谈到)(?:了)?(?P<topic>.+)",
        r"(?P<topic>.+?)(?:是)?(?:在)?(?:什么时候|何时)(?:被)?(?:提到|出现|说到)\S{0,40}",
    )
)
_OVERVIEW_WORDS = frozenset(
    ["clip", "conversation", "episode", "film", "interview", "lecture", "meeting", "movie", "podcast", "presentation",
     "recording", "speech", "talk", "give", "please", "short", "whole", "entire", "main", "points", "topics"]
)  # fmt: skip
"""Words of a question about the whole of a video. With any other word, a question is about a subject in it."""
_IN_WORDS = re.compile(
    r"\b(?:mention\w*|said|says?|talk\w*|discuss\w*|bring\w* up|brought up|com(?:e|es) up|came up|named|spoken|refer\w*|"
    r"quoted|cited|erwähn\w*|genannt|gesagt|angesprochen|besprochen|menciona\w*|habla\w*|dicen?|mentionn\w*|parle)\b"
    r"|언급|이야기|言及|話|提到|说到|讲到|谈到",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"\b(?:what(?:['’]s| is| was| are)?\s++(?:it|this|that|they|(?:this|the)\s++\w++(?:\s++\w++)?)\s++(?:all\s++)?about|"
    r"what(?:['’]s| is) (?:in|the (?:subject|topic|content)s? of) (?:it|this|the video)|"
    r"summar(?:y|i[sz]e|ies)|overview|outline|main (?:points?|topics?|ideas?)|(?:what|which) topics?|tl;?dr|chapters?|"
    r"worum geht (?:es|'s)|zusammenfass\w+|de qué (?:se )?trata|resum(?:en|e|ir)|de quoi (?:parle|s['’]agit)|résum\w+)\b"
    r"|무슨 내용|요약|何について|要約|讲(?:的是|了)?什么|总结|主题",
    re.IGNORECASE,
)
_LOOKS = re.compile(
    r"\b(?:colou?rs?|colou?red|wear(?:s|ing)?|dressed|look(?:s|ed|ing)? like|what does .{1,60} look|facial expression|"
    r"how many (?:\w+ ){1,3}(?:(?:are|is) visible|can (?:be seen|(?:i|we|you) see))|in the (?:picture|background|image)|"
    r"(?:is|are) (?:\w+ ){1,3}(?:standing|sitting|holding|walking|running|smiling|dancing)|what (?:can|do) (?:i|we|you) see|"
    r"who (?:is|can be) (?:seen|visible)|farbe|kleidung|couleur|ropa)\b|무슨 색|색깔|何色|什么颜色|颜色",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"\b(?:say|says|said|saying|mention\w*|according to|tell|tells|told|talk\w*|explain\w*|call\w*|describe[sd]?)\b", re.I
)
"""Words of a question about what is said, even if it is about a colour."""
_TIME_WORDS_TEXT = """
    about around at between during exactly from heard hear he mark mentions minute minutes moment near next part place point quote
    read screen second seconds see seen she showing shown slide speaker subtitle subtitles text then they till time transcript
    until video words written
"""
_TIME_WORDS = frozenset(_TIME_WORDS_TEXT.split())
"""Words of a question that asks for nothing but what is said and shown at a time."""
_LEADING = re.compile(r"^(?:(?:the|a|an|any|of|about|der|die|das|den|el|la|los|las|le|les)\s++)++", re.IGNORECASE)
_PARENTHESIS = re.compile(r"\([^()]*+\)")
_WORD = re.compile(r"[^\W_]++")


@dataclass(frozen=True)
class QuoteQuestion:
    """A question, and what has to be quoted for it."""

    kind: QuestionKind
    topic: str
    """What is searched: the topic of mentions, or the question without its times."""
    span: Span | None
    """The only part of the video that is asked about; a single time has length 0; None: all of it."""
    asks_for_words: bool = False
    """Whether the mentions are those in words, so that frames cannot show them."""


def parse_question(question: Question, *, duration_s: float) -> QuoteQuestion:
    """Return the kind of a question about a video of `duration_s` seconds, its topic and its time.

    A question of which only a time is left is answered with all that is said and shown then.
    """
    span = question.range
    if span is None and question.timestamp_s is not None:
        span = Span(question.timestamp_s, question.timestamp_s)
    text = _without_times(question.text, duration_s)
    if span is not None and not _content_words(text):
        return QuoteQuestion("time", text, span)
    plain = " ".join(text.split()).strip("?!.。？！¿¡ ")
    if (topic := _mention_topic(plain)) and query_terms(topic):
        return QuoteQuestion("mentions", topic, span, asks_for_words=bool(_IN_WORDS.search(plain)))
    if _SUMMARY.search(plain) and not set(_content_words(_SUMMARY.sub(" ", plain))) - _OVERVIEW_WORDS:
        return QuoteQuestion("summary", plain, span)
    if _LOOKS.search(plain) and not _SAID.search(plain):
        return QuoteQuestion("looks", plain, span)
    return QuoteQuestion("content", plain, span)


def _mention_topic(text: str) -> str | None:
    for pattern in _MENTIONS:
        if match := pattern.fullmatch(text):
            # An explanation in parentheses is not what is said.
            topic = _LEADING.sub("", _PARENTHESIS.sub(" ", match["topic"]).strip(" \"'“”‘’«»「」,"))
            return " ".join(topic.split()) or None
    return None


def _without_times(text: str, duration_s: float) -> str:
    return replace_times(text, find_times(text, duration_s=duration_s), lambda _: " ")


def _content_words(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [word for word in words if word not in STOP_WORDS | QUESTION_WORDS | _TIME_WORDS]
