"""Kinds of questions without a topic: about all that is written, seen or said in a video, its languages, speakers, and lists.

A question is of such a kind if nothing is left of it without the words of the kind and the words that name no topic, in English,
German, French, Spanish, Korean and Japanese: "List all prices" is one, and "What is the price of the pipes?" is not.
"""

import re
from typing import Literal

from longview.indexing.search.quotes import QUESTION_WORDS
from longview.indexing.text.terms import STOP_WORDS

TopiclessKind = Literal["prices", "dates", "names", "numbers", "emails", "web", "phones", "languages", "speakers", "written",
                        "seen", "length", "summary"]  # fmt: skip
ListKind = Literal["prices", "dates", "names", "numbers", "emails", "web", "phones"]

_FLAGS = re.IGNORECASE
_PATTERNS: tuple[tuple[TopiclessKind, re.Pattern[str]], ...] = (
    (
        "emails",
        re.compile(
            r"\b(?:e-?mail(?:s|(?:[ -]ad+res+(?:es|en|e)?))?|mail ad+res+es|ad+resses (?:e-?mail|mail|électroniques?)|"
            r"courriels?|(?:direcciones de )?correos?(?: electr[óo]nicos?)?|direcciones de e-?mail)\b"
            r"|이메일(?: ?주소)?|메일 ?주소|(?:電子)?メール(?:アドレス)?|メアド|邮箱|电子邮件(?:地址)?",
            _FLAGS,
        ),
    ),
    (
        "web",
        re.compile(
            r"\b(?:web ?ad+res+es|web ?sites?|web ?pages?|web ?links?|links?|urls?|internetadressen|webseiten|"
            r"sites? (?:web|internet)|liens?|p[áa]ginas? web|sitios? web|enlaces?)\b|웹 ?(?:사이트|주소)|링크|ウェブサイト|"
            r"リンク|网址|链接",
            _FLAGS,
        ),
    ),
    (
        "phones",
        re.compile(
            r"\b(?:(?:tele)?phone numbers?|telefonnummern?|num[ée]ros? de t[ée]l[ée]fono?|num[ée]ros? de t[ée]l[ée]phone)\b"
            r"|전화 ?번호|電話番号|电话号码",
            _FLAGS,
        ),
    ),
    (
        "prices",
        re.compile(
            r"\b(?:pric(?:es?|ing)|costs?|amounts?(?: of money)?|sums? of money|fees?|preise?n?|betr[aä]ge?n?|geldbetr[aä]ge?n?|"
            r"kosten|geldsummen?|prix|montants?|tarifs?|coûts?|sommes d['’]argent|precios?|costes?|costos?|importes?|tarifas?|"
            r"cantidades de dinero)\b|가격|금액|요금|비용|価格|値段|金額|料金|费用|价格|金额",
            _FLAGS,
        ),
    ),
    (
        "dates",
        re.compile(
            r"\b(?:(?:calendar )?dates?|deadlines?|daten|datum|datumsangaben|termine?n?|jahreszahlen|fechas?|jours et dates)\b"
            r"|날짜|일자|日付|日にち|年月日|日期",
            _FLAGS,
        ),
    ),
    (
        "numbers",
        re.compile(
            r"\b(?:numbers?|figures?|zahlen?|ziffern|(?:les|des|quels|tous les) nombres|chiffres|n[úu]meros|cifras)\b"
            r"|숫자|수치|数字|数値",
            _FLAGS,
        ),
    ),
    (
        "names",
        re.compile(
            r"\b(?:(?:proper )?names?|(?:which|what|all) (?:people|persons)|who (?:is|are|was|were|gets?) (?:mentioned|named)|"
            r"(?:eigen)?namen?|personen|wer wird (?:erwähnt|genannt)|noms?(?: propres)?|personnes?|nombres?(?: propios)?|"
            r"personas?)\b"
            r"|이름|인물|名前|人名|人物|名字",
            _FLAGS,
        ),
    ),
    (
        "languages",
        re.compile(
            r"\b(?:languages?|sprachen?|langues?|idiomas?|lenguas?)\b|언어|무슨 말로|어느 나라 말|言語|何語|语言",
            _FLAGS,
        ),
    ),
    (
        "speakers",
        re.compile(
            r"\b(?:who(?:['’]s| is| are| was| were)? (?:it that )?(?:speaking|talking)|who (?:speaks?|talks?|spoke|talked)|"
            r"who(?:['’]s| is| are) the (?:speakers?|narrators?|presenters?|hosts?)|whose voices?(?: is| are)?|"
            r"how many (?:different )?(?:speakers|voices|people (?:speak|talk|are (?:speaking|talking)))|"
            r"(?:list|name) (?:all )?(?:the )?speakers|wer (?:spricht|redet|ist der sprecher|ist die sprecherin)|"
            r"wie viele (?:sprecher|stimmen|personen sprechen)|wessen stimme|qui (?:parle|est-ce qui parle|"
            r"est en train de parler)|"
            r"combien de (?:voix|locuteurs|personnes parlent)|qui[ée]n(?:es)? (?:habla|hablan|est[áa]n? hablando)|"
            r"cu[áa]nt[oa]s (?:voces|hablantes|personas hablan))\b"
            r"|누가 (?:말|이야기|얘기)|화자|말하는 사람|誰が(?:話|喋|しゃべ)|話者|話し手|話している(?:の|人)|谁在(?:说话|讲话)",
            _FLAGS,
        ),
    ),
    (
        "length",
        re.compile(
            r"\b(?:how long (?:is|does|lasts?)|(?:the )?(?:duration|length|run(?:ning)? ?time)|wie lang(?:e)?(?: dauert)?|"
            r"(?:spiel)?dauer|"
            r"länge|dur[ée]e|combien de temps dure|cu[áa]nto (?:dura|tiempo dura)|duraci[óo]n)\b"
            r"|얼마나 (?:긴|길|돼|되)\w{0,4}|길이|몇 분(?:짜리)?|長さ|何分|どのくらいの長さ|多长",
            _FLAGS,
        ),
    ),
    (
        "written",
        re.compile(
            r"\b(?:written|writing|texts?|readable|to read|on (?:the |its )?(?:screens?|slides?)|in (?:the )?slides|"
            r"(?:the )?slides? (?:say|show)|"
            r"geschrieben|steht|zu lesen|bildschirm|folien?|tafeln?|écrit(?:e|s|es)?|textes?|à l['’]écran|écran|diapositives?|"
            r"escrit[oa]s?|textos?|pantalla|diapositivas?|se lee)\b"
            r"|화면|글자|글씨|텍스트|적혀|쓰여|써 ?있|슬라이드|画面|文字|書かれ|書いて|テキスト|スライド|テロップ|屏幕|写着",
            _FLAGS,
        ),
    ),
    (
        "seen",
        re.compile(
            r"\b(?:shown?|seen?|visible|looks? like|pictures?|images?|frames?|gezeigt|zu sehen|sieht|sehen|bilder|montrée?s?|"
            r"voit|voir|"
            r"images?|muestran?|ven?|ver|im[áa]genes)\b|보여|보이|보입|볼 수|映っ|映像に何|見え|見られ|看到|显示",
            _FLAGS,
        ),
    ),
    (
        "summary",
        re.compile(
            r"\b(?:happen(?:s|ed|ing)?|going on|said|says?|talk(?:s|ed|ing)?(?: about)?|about|describe[ds]?|description|"
            r"discuss(?:ed|es)?|"
            r"covered|topics?|subjects?|themes?|contents?|points?|passiert|geschieht|gesagt|gesprochen|besprochen|behandelt|"
            r"worum|geht(?:['’]s)?|"
            r"themen|thema|inhalte?|beschreibe?|se passe|dite?s?|arrive|sujets?|thèmes?|parle|raconte|décri[st]|pasa|sucede|"
            r"ocurre|"
            r"dicen?|dicho|hablan?|temas?|asunto|describe|contenido)\b"
            r"|일어나|일이|말하|이야기|무슨 말|무슨 얘기|뭐라고|관한|관해|내용|주제|설명|何が起|起こ|起き|言って|話して|"
            r"話され|内容|テーマ|話題|説明|发生|内容|主题",
            _FLAGS,
        ),
    ),
)
"""The words of each kind, the more special kinds first: all kinds that a question names must leave nothing of it."""
LISTS: tuple[ListKind, ...] = ("prices", "dates", "names", "numbers", "emails", "web", "phones")
"""Kinds whose answer is a list of what stands in the words."""
_NEUTRAL_TEXT = """
    videos one two three four five zwei drei vier fünf deux trois quatre cinq dos tres cuatro cinco
    list lists lister enumerate name give gives find finds show shows tell tells write collect extract every each all any some
    please full complete exact exactly mentioned mentions mention occur occurs appear appears used use uses spoken said there
    different together total anywhere kind kinds type types named speak spoke heard hear language content contents present
    contained happen happened video film movie clip recording file talk meeting it them they this that liste nenne nenn zeig
    zeige gib auf mir alle allen aller alles bitte sag sage sind werden wurden wurde wird es gibt im in dem bei den der die
    das diesem dieser dieses was welche welcher welches man vor kommen vorkommen erwähnt erwähnten genannt genannten gesagt
    gesprochen enthalten aufgezählt zähle ist hier da von vom zum gerade hat und am um aufnahme wie viel viele listez donne
    donnez moi énumère énumérez montre montrez tous toutes tout les des du le la un une dans ce cette cet cela ça quels
    quelles quel quelle qui que qu est sont il y a t on ont été mentionné mentionnés mentionnée mentionnées cité cités citées
    dits dites donné donnée donnés données vidéo quoi sur au aux en parle parlées parlés utilisées s agit indiqués et se de d
    l lista listar enumera dame dime muestra muéstrame todos todas todo toda los las el lo una unos unas este esta esto ese
    esa vídeo película qué cuál cuáles son hay aparecen aparece mencionan menciona mencionados mencionadas mencionado dichos
    dichas han sido hablan habla por favor al del sobre está están trata cuántos cuántas con
"""
_NEUTRAL_WORDS = frozenset(_NEUTRAL_TEXT.split()) | STOP_WORDS | QUESTION_WORDS
"""Words that name no topic, beside those of a kind."""
_NEUTRAL_PARTS = re.compile(
    # Korean: particles, endings and words such as "all", "list", "tell", "video".
    r"동영상|영상|비디오|에서는|에서|에는|모든|모두|전부|목록|나열|리스트|알려|말씀|말해|적어|찾아|뽑아|보여|정리|주세요|"
    r"주십시오|하십시오|하세요|해줘|"
    r"줘|주|무엇이|무엇|무슨|어떤|어느|뭐라고|뭐가|뭐|뭔가요|몇|누구|되나|돼|하나|을까|누가|있나요|있습니까|있어요|있는|있어|"
    r"있니|인가요|입니까|"
    r"이에요|예요|나요|습니까|합니까|하나요|"
    r"합니다|하고|하는|해요|했나요|되나요|됩니까|되는|된|언급|등장|나오는|나온|나오나요|나옵니까|나와요|나와|사용|쓰이|쓰인|"
    r"말하|말|이야기|얘기|사람|여기|것인|것|이것|그것|저것|전체|안|"
    r"까지|해|야|이|그|에|의|은|는|가|을|를|도|와|과|로|으로|고|요|니|지|죠|까|다|음|나|있|"
    # Japanese
    r"ビデオ|動画|映像|この|その|すべて|全て|全部|あらゆる|リスト|一覧|列挙|挙げて|挙げ|教えて|示して|見せて|ください|下さい|"
    r"ですか|でしょうか|ますか|ました|"
    r"います|ます|です|どのくらい|どれくらい|について|についての|ている|ています|ておら|れて|られて|られる|される|された|され|"
    r"して|いる|いま|あります|ありま|あり|何が|何を|何と|何|なに|なん|どんな|どの|どれ|どこ|誰|いくつ|出てく|出てき|出てくる|"
    r"出て|登場|"
    r"言及|使われ|使用|話され|話さ|話し|言わ|言っ|言う|話し|話す|内容|くだ|さい|"
    r"[のをはがにでともへかやてき中いるれさらっ]|"
    # Chinese
    r"视频|影片|列出|所有|全部|哪些|什么|有|的|是|里|中|请|提到|了|出现|在|上"
)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD = re.compile(r"[^\W_]++")


def topicless_kinds(text: str) -> tuple[TopiclessKind, ...]:
    """Return the kinds of a question without a topic, the most special one first; empty if the question has a topic.

    `text`: the question without its times. Several lists may be asked for at once; other kinds have one.
    """
    kinds: list[TopiclessKind] = []
    rest = text
    for kind, pattern in _PATTERNS:
        shorter = pattern.sub(" ", rest)
        if shorter != rest:
            kinds.append(kind)
            rest = shorter
    if not kinds or has_topic(rest):
        return ()
    lists = [kind for kind in kinds if kind in LISTS]
    return tuple(lists or kinds[:1])


def has_topic(text: str) -> bool:
    """Whether a question has a word that can be looked for, beside those that every question may have."""
    return any(_is_topical(word) for word in _WORD.findall(text.lower()))


def _is_topical(word: str) -> bool:
    if _CJK.search(word):
        return bool(_NEUTRAL_PARTS.sub("", word))
    return word not in _NEUTRAL_WORDS and len(word) > 1
