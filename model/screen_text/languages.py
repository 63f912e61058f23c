"""Languages of text on screen: which of them the bundled model reads, and which language a text is in, by its script."""

import re
import unicodedata

MAX_LINE_CHARACTERS = 300
"""Maximum length of a line, in characters. The longest lines of terminals have about 250."""
UNREADABLE_LANGUAGES = {
    "am": "amh", "ar": "ara", "as": "asm", "be": "bel", "bg": "bul", "bn": "ben", "bo": "bod", "dv": "div", "dz": "dzo",
    "el": "ell", "fa": "fas", "gu": "guj", "he": "heb", "hi": "hin", "hy": "hye", "ka": "kat", "kk": "kaz", "km": "khm",
    "kn": "kan", "ko": "kor", "ky": "kir", "lo": "lao", "mk": "mkd", "ml": "mal", "mn": "mon", "mr": "mar", "my": "mya",
    "ne": "nep", "or": "ori", "pa": "pan", "ps": "pus", "ru": "rus", "sa": "san", "sd": "snd", "si": "sin", "sr": "srp",
    "ta": "tam", "te": "tel", "tg": "tgk", "th": "tha", "ti": "tir", "tt": "tat", "ug": "uig", "uk": "ukr", "ur": "urd",
    "yi": "yid",
}  # fmt: skip
"""Languages that tesseract reads instead of the bundled model, with their codes in tesseract. For Hangul and Cyrillic the model
returned empty lines; the other scripts were not tried. Its alphabet (metadata of the file) has Latin, Han, kana and some Greek
letters."""
READABLE_LETTER = re.compile(r"LATIN|FULLWIDTH LATIN|CJK|HIRAGANA|KATAKANA|HALFWIDTH KATAKANA|MICRO SIGN|FEMININE|MASCULINE")
"""Beginnings of the Unicode names of letters that the bundled model reads."""
HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
KANA = re.compile(r"[\u3041-\u309f\u30a1-\u30fa\u31f0-\u31ff\uff66-\uff9d]")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_ASCII_OF_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""ASCII characters of the full-width forms (Unicode block Halfwidth and Fullwidth Forms)."""


def text_language(text: str) -> str | None:
    """Return the language that the script of a text tells: Korean, Japanese or Chinese; None for any other.

    Han characters alone are taken as Chinese, although short Japanese titles have no kana either.
    """
    if HANGUL.search(text):
        return "ko"
    if KANA.search(text):
        return "ja"
    return "zh" if HAN.search(text) else None


def text_script_is_unreadable(text: str) -> bool:
    """Whether a text has letters of a script that the bundled model does not read: neither Latin, nor Han, nor kana."""
    return any(letter.isalpha() and not READABLE_LETTER.match(unicodedata.name(letter, "")) for letter in text)


def printable_line(text: str) -> str:
    """Return a text as one line without control and format characters, of at most `MAX_LINE_CHARACTERS`.

    Full-width punctuation, digits and letters stay only in a line with Chinese, Japanese or Korean characters: the bundled model
    reads the colon of an English slide as the full-width one.
    """
    # Format characters can reverse the order of what follows, or hide text.
    letters = (" " if letter.isspace() or unicodedata.category(letter)[0] == "C" else letter for letter in text)
    line = " ".join("".join(letters).split())[:MAX_LINE_CHARACTERS].strip()
    return line if text_language(line) else line.translate(_ASCII_OF_FULL_WIDTH)
