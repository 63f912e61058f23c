"""Kinds of questions that are answered with quotes: about a time, all mentions of a topic, what comes before or after it, how
something looks, anything else that is said or shown, and the kinds without a topic (`longview.app.qa.quotes.question_kinds`)."""

import re
from dataclasses import dataclass
from typing import Literal

from longview.app.qa.quotes.question_kinds import LISTS, ListKind, TopiclessKind, has_topic, topicless_kinds
from longview.indexing.search.quotes import QUESTION_WORDS
from longview.indexing.text.terms import STOP_WORDS, query_terms
from longview.model.tasks.question import Question

QuestionKind = Literal["time", "mentions", "before", "after", "looks", "content", "nothing", "list"] | TopiclessKind
Aspect = Literal["said", "shown"]
Side = Literal["before", "after"]

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
        r"(?:wann|wo|wie oft|wie viele male|wie häufig) (?:wird|werden|wurde|wurden|kommt|kommen)\s++"
        rf"(?P<topic>.+?){_SPACE}(?:erwähnt|genannt|gesagt|gezeigt|angesprochen|besprochen|vor)",
        r"(?:wann|wo|wie oft|wie viele male|wie häufig) (?:erwähnt|nennt|sagt|zeigt)\s++(?:er|sie|man|jemand)\s++(?P<topic>.+)",
        r"¿?\s*+(?:cuándo|cuántas veces|dónde) (?:se )?(?:menciona|habla de|dice|muestra|nombra|aparece)n?\s++(?:a\s++)?"
        r"(?P<topic>.+)",
        r"(?:quand|combien de fois|où) (?:est-ce qu[’']on |parle-t-on d[e’']|mentionne-t-on |dit-on |est mentionnée? )\s*+"
        r"(?P<topic>.+)",
        rf"(?:quand|combien de fois|où) (?:est-ce que )?(?P<topic>.+?){_SPACE}(?:est|sont)(?:[- ](?:il|elle|ils|elles))? "
        r"(?:mentionn|cit|dit|nomm|montr|prononc)\S{0,40}",
        r"(?P<topic>.+?)(?:은|는|이|가|을|를|란|라는)?(?<!\s)\s*+(?:(?:단어|말)(?:은|는|이|가|을|를)?\s++)?(?:언제|"
        r"몇\s?번(?:이나)?)\s*+"
        r"(?:언급|말|나오|등장|나와|나옵|이야기)\S{0,40}",
        r"(?P<topic>.+?)(?:という(?:言葉|単語))?(?:は|が|を)?(?:いつ|どこで|何回|何度)(?:言及|話|出|登場|触れ|言わ)\S{0,40}",
        r"(?:什么时候|何时|哪里)(?:提到|说到|讲到|出现|谈到)(?:了)?(?P<topic>.+)",
        r"(?P<topic>.+?)(?:是)?(?:在)?(?:什么时候|何时)(?:被)?(?:提到|出现|说到)\S{0,40}",
    )
)
_ORDER_PATTERNS: tuple[tuple[Side, str], ...] = (
    ("after", r"what (?:else )?(?:happens|comes|follows|is (?:said|shown|seen)|do(?:es)? .{1,40} (?:say|do|show)|(?:was|"
    r"were) (?:said|shown|seen)|did .{1,40} (?:say|show))(?: next|"
    r" right| just| directly| immediately)? after\s++(?P<topic>.+)"),
    ("before", r"what (?:else )?(?:happens|comes|is (?:said|shown|seen)|do(?:es)? .{1,40} (?:say|do|show)|(?:was|"
    r"were) (?:said|shown|seen)|did .{1,40} (?:say|show))(?: right| just|"
    r" directly| immediately)? before\s++(?P<topic>.+)"),
    ("after", r"what (?:follows|comes after)\s++(?P<topic>.+)"),
    ("before", r"what precedes\s++(?P<topic>.+)"),
    ("after", r"was (?:passiert|geschieht|kommt|folgt|wird gesagt|wird gezeigt|sagt .{1,40}?)(?: direkt| gleich| kurz|"
    r" unmittelbar)? nach\s++(?P<topic>.+)"),
    ("after", r"was folgt auf\s++(?P<topic>.+)"),
    ("before", r"was (?:passiert|geschieht|kommt|wird gesagt|wird gezeigt|sagt .{1,40}?)(?: direkt| gleich| kurz|"
    r" unmittelbar)? vor\s++(?P<topic>.+)"),
    ("after", r"(?:que se passe[- ]t[- ]il|qu[’']est-ce qui se passe|qu[’']arrive[- ]t[- ]il|que dit-on|"
    r"qu[’']est-ce qui vient|qu[’']est-ce qu[’']on dit)(?: juste)? après\s++(?P<topic>.+)"),
    ("before", r"(?:que se passe[- ]t[- ]il|qu[’']est-ce qui se passe|qu[’']arrive[- ]t[- ]il|que dit-on|"
    r"qu[’']est-ce qui vient|qu[’']est-ce qu[’']on dit)(?: juste)? avant\s++(?P<topic>.+)"),
    ("after", r"¿?\s*+qué (?:pasa|sucede|ocurre|viene|sigue|se dice|se muestra)(?: justo)? (?:después|tras|"
    r"luego)(?: del?)?\s++(?P<topic>.+)"),
    ("before", r"¿?\s*+qué (?:pasa|sucede|ocurre|viene|se dice|se muestra)(?: justo)? antes del?\s++(?P<topic>.+)"),
    ("after", r"(?P<topic>.+?)(?<!\s)\s*+(?:다음에?|후에|이후에|뒤에)(?:는)?\s*+(?:무슨|무엇|뭐|뭘|어떤|"
    r"어떻게)\S{0,40}(?:\s\S{1,40}){0,3}+"),
    ("before", r"(?P<topic>.+?)(?<!\s)\s*+(?:전에|이전에|앞에)(?:는)?\s*+(?:무슨|무엇|뭐|뭘|어떤|"
    r"어떻게)\S{0,40}(?:\s\S{1,40}){0,3}+"),
    ("after", r"(?P<topic>.+?)の?(?:後|あと|次)(?:に|は|には|で)+(?:何|なに|どう)\S{0,40}"),
    ("before", r"(?P<topic>.+?)の?前(?:に|は|には|で)+(?:何|なに|どう)\S{0,40}"),
)  # fmt: skip
_ORDER: tuple[tuple[Side, re.Pattern[str]], ...] = tuple(
    (side, re.compile(rf"\A(?:{pattern})", re.IGNORECASE)) for side, pattern in _ORDER_PATTERNS
)
"""Questions about what comes before or after something: in the present tense, because what "happened after the war" is told by
those who speak about the war."""
_SIDE_ARTICLE = re.compile(r"^(?:the|a|an|der|die|das|dem|den|le|la|les|el|los|las)\s++", re.IGNORECASE)
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
    r"how many (?:people|persons|men|women|children|animals|cars) (?:are|is|appear)(?: there)?(?: in (?:it|(?:the|this) \w+))?\Z|"
    r"wie sieht .{1,60} aus|welche farbe|was trägt .{1,60}|"
    r"de quelle couleur|"
    r"à quoi ressemble|que porte .{1,60}|de qué color|cómo (?:es|se ve) .{1,60}|qué lleva puesto|"
    r"(?:is|are) (?:\w+ ){1,3}(?:standing|sitting|holding|walking|running|smiling|dancing)|what (?:can|do) (?:i|we|you) see|"
    r"(?:can|could|do) (?:you|i|we|one) see|what (?:is|are) .{1,40} (?:doing|wearing|holding)|"
    r"who (?:is|can be) (?:seen|visible)|farbe|kleidung|couleur|ropa)\b|무슨 색|색깔|어떻게 생겼|무엇을 입|뭘 입|何色|"
    r"どんな(?:色|服|見た目)|何を着|什么颜色|颜色",
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
_MOMENT_KINDS: tuple[tuple[TopiclessKind, ...], ...] = (("written",), ("seen",), ("summary",))
"""Kinds without a topic that ask for all of a moment if the question names one."""
_SAID_ASPECT = re.compile(
    r"\b(?:sa(?:y|ys|id|ying)|speak\w*|spoken|talk\w*|mention\w*|hear\w*|sagt|gesagt|spricht|gesprochen|dit|parle|dice|dicen|"
    r"habla)\b"
    r"|말|뭐라고|이야기|言|話|喋|说|讲",
    re.IGNORECASE,
)
_SHOWN_ASPECT = re.compile(
    r"\b(?:show(?:n|s)?|see|seen|screen|written|read|text|slides?|visible|picture|gezeigt|zu sehen|sieht|bildschirm|folie|"
    r"montré|voit|"
    r"écran|muestra|ve|pantalla)\b|보|화면|映|画面|見|显示|屏幕",
    re.IGNORECASE,
)
_LEADING = re.compile(r"^(?:(?:the|a|an|any|of|about|der|die|das|den|el|la|los|las|le|les)\s++)++", re.IGNORECASE)
_QUOTATION_MARKS = " \"'“”‘’„«»「」,"
_CARRIER = re.compile(
    r"^(?:(?:the|das|der|die|le|la|les|el|los|las)\s++)?(?:words?|phrases?|terms?|names?|expressions?|wort|wörter|begriff|"
    r"ausdruck|mots?|"
    r"expressions?|termes?|palabras?|frases?|términos?)\s++(?=\S)",
    re.IGNORECASE,
)
"""A noun before a topic that tells what the topic is: "the word pump"."""
_PARENTHESIS = re.compile(r"\([^()]*+\)")
_WORD = re.compile(r"[^\W_]++")


@dataclass(frozen=True)
class ExtractiveQuestion:
    """A question, and what has to be quoted for it. It is parsed once for all videos that it is about."""

    question: Question
    kind: QuestionKind
    topic: str
    """What is searched: the topic of mentions, or the question without its times."""
    asks_for_words: bool = False
    """Whether all places in the words answer it, so that frames cannot, and a checkpoint would name only some of them."""
    lists: tuple[ListKind, ...] = ()
    """For the kind `list`: what is listed."""
    aspect: Aspect | None = None
    """For the kind `time`: what the question asks for first; None: it does not say."""

    @property
    def is_topicless(self) -> bool:
        """Whether the question names nothing that could be searched, so that all of a video is what it asks about."""
        return self.kind in ("list", "languages", "speakers", "written", "seen", "length", "summary")


def parse_question(text: str) -> ExtractiveQuestion:
    """Parse a question: its kind, its topic and its times.

    A question of which only a time is left is answered with all that is said and shown then.

    Raises:
        InvalidQuestion: the question is empty or too long.
    """
    question = Question(text)
    text = question.without_times
    plain = " ".join(text.split()).strip("?!.。？！¿¡ ")
    kinds = topicless_kinds(plain)
    if question.times and (not _content_words(text) or not has_topic(text) or kinds[:1] in _MOMENT_KINDS):
        return ExtractiveQuestion(question, "time", text, aspect=_aspect(plain))
    if (topic := _mention_topic(plain)) and query_terms(topic):
        return ExtractiveQuestion(question, "mentions", topic, asks_for_words=bool(_IN_WORDS.search(plain)))
    if _SUMMARY.search(plain) and not _has_subject(_SUMMARY.sub(" ", plain)):
        return ExtractiveQuestion(question, "summary", plain)
    for side, pattern in _ORDER:
        if (match := pattern.fullmatch(plain)) and query_terms(what := _SIDE_ARTICLE.sub("", match["topic"].strip())):
            return ExtractiveQuestion(question, side, what)
    if kinds and kinds[0] in LISTS:
        lists = tuple(kind for kind in kinds if kind in LISTS)
        return ExtractiveQuestion(question, "list", plain, asks_for_words=True, lists=lists)
    if kinds:
        return ExtractiveQuestion(question, kinds[0], plain, asks_for_words=kinds[0] in ("languages", "written"))
    if _LOOKS.search(plain) and not _SAID.search(plain):
        return ExtractiveQuestion(question, "looks", plain)
    return ExtractiveQuestion(question, "content" if has_topic(plain) else "nothing", plain)


def _has_subject(text: str) -> bool:
    """Whether what is left of a question about the whole names a subject in it."""
    return has_topic(" ".join(word for word in _WORD.findall(text.lower()) if word not in _OVERVIEW_WORDS))


def _aspect(text: str) -> Aspect | None:
    is_said, is_shown = bool(_SAID_ASPECT.search(text)), bool(_SHOWN_ASPECT.search(text))
    return None if is_said == is_shown else "said" if is_said else "shown"


def _mention_topic(text: str) -> str | None:
    for pattern in _MENTIONS:
        if match := pattern.fullmatch(text):
            # An explanation in parentheses is not what is said.
            topic = _PARENTHESIS.sub(" ", match["topic"]).strip(_QUOTATION_MARKS)
            for pattern_before in (_LEADING, _CARRIER, _LEADING):
                topic = pattern_before.sub("", topic).strip(_QUOTATION_MARKS)
            return " ".join(topic.split()) or None
    return None


def _content_words(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [word for word in words if word not in STOP_WORDS | QUESTION_WORDS | _TIME_WORDS]
