"""Decoding of text files in an unknown encoding, as subtitles and transcripts often are.

chardet finds the encoding; what it leaves open is decided here: damaged UTF-8, and binary files that begin as a text does.
"""

import stat
import unicodedata
from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path

import chardet

from longview.video.errors import UnreadableSubtitles

ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("cp949", "cp932", "gb18030", "big5hkscs", "euc_jis_2004"),
    *("koi8-r", "koi8-u", "iso8859-2", "iso8859-5", "iso8859-7", "cp866"),
)
"""Encodings of subtitles. Others of chardet's 80 have nearly the same letters at the same bytes, so that they were
detected in short texts. Of two encodings, one of which contains the other, only the larger one is listed."""
LANGUAGE_ENCODINGS = {
    language: encodings
    for encodings, languages in {
        ("cp1250", "iso8859-2"): "bs cs hr hu pl ro sk sl",
        ("cp1251", "koi8-r", "koi8-u", "iso8859-5", "cp866"): "be bg mk ru sr uk",
        ("cp1252",): "ca da de en es eu fi fr ga gl id is it nb nl nn no pt sq sv",
        ("cp1253", "iso8859-7"): "el",
        ("cp1254",): "tr",
        ("cp1255",): "he",
        ("cp1256",): "ar fa ur",
        ("cp1257",): "et lt lv",
        ("cp1258",): "vi",
        ("cp874",): "th",
        ("cp949",): "ko",
        ("cp932", "euc_jis_2004"): "ja",
        ("gb18030", "big5hkscs"): "zh",
    }.items()
    for language in languages.split()
}
"""Legacy encodings of each language (ISO 639-1)."""
MIN_NAMED_SHARE = 0.5
"""Minimum confidence in an encoding of the language that the file's name states, as a share of the highest confidence. A single
sentence of Czech, for example, was detected as Greek; the name of a file may also be wrong."""
EXAMINED_BYTES = 1 << 16
"""Number of bytes at the start of a file that are examined: about 1,000 subtitles."""
MAX_BINARY_SHARE = 0.05
"""Maximum share of control, unassigned and undecodable characters in a text."""
BINARY_CATEGORIES = frozenset({"Cc", "Cn", "Co", "Cs"})
"""Unicode categories of control, unassigned, private and surrogate characters."""
MAX_DAMAGED_SHARE = 0.02
"""Maximum share of undecodable characters in UTF-8, of all characters outside of ASCII. In legacy encodings nearly all are."""


@dataclass(frozen=True)
class DecodedText:
    """The text of a file, and how it was decoded."""

    text: str
    encoding: str
    """Name of the encoding as in Python's `codecs`."""
    problems: tuple[str, ...] = ()
    """Sentences about bytes that could not be decoded."""


def read_text_file(path: Path, *, max_bytes: int, language: str | None = None) -> DecodedText:
    """Read and decode a text file.

    Raises:
        UnreadableSubtitles: the path is not a regular file of at most `max_bytes`, or the file is empty or not text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableSubtitles(f"{path} is not a regular file; specify a text file.")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableSubtitles(f"{path} cannot be read: {reason}.") from error
    if len(content) > max_bytes:
        raise UnreadableSubtitles(f"{path} has more than {max_bytes >> 20} MB, the maximum for a text file; choose another file.")
    if not content.strip():
        raise UnreadableSubtitles(f"{path} is empty; choose another file.")
    result = decode_text(content, language)
    if result is None:
        raise UnreadableSubtitles(f"{path} is not a text file; choose a file with subtitles or a transcript.")
    return result


def decode_text(content: bytes, language: str | None = None) -> DecodedText | None:
    """Decode the bytes of a text file; None if they are not text.

    `language`: ISO 639-1 code that the file's name states, if any.
    """
    encoding = _encoding(content, language)
    if encoding is None:
        return None
    text = content.decode(encoding, errors="replace")
    sample = text[:EXAMINED_BYTES]
    if sum(map(_is_binary, sample)) > MAX_BINARY_SHARE * len(sample):
        return None
    lost_characters = text.count("\ufffd")
    problem = f"{lost_characters} character{'s' if lost_characters > 1 else ''} of the file cannot be decoded as {encoding}."
    return DecodedText(text, encoding, (problem,) if lost_characters else ())


def _encoding(content: bytes, language: str | None) -> str | None:
    """Return the encoding of a text; None if the bytes are not text."""
    if _is_utf8(content):
        return "utf-8-sig" if content.startswith(BOM_UTF8) else "utf-8"
    results = chardet.detect_all(
        _examined(content), ignore_threshold=True, compat_names=False, prefer_superset=False, include_encodings=ENCODINGS
    )
    encoding = results[0]["encoding"]
    if encoding is None or encoding.startswith("utf-"):
        return encoding
    likely = (result["encoding"] for result in results if result["confidence"] >= MIN_NAMED_SHARE * results[0]["confidence"])
    return next((name for name in likely if name in LANGUAGE_ENCODINGS.get(language or "", ())), encoding)


def _is_utf8(content: bytes) -> bool:
    """Whether a text is in UTF-8, with few characters that are damaged or zero.

    For chardet, damaged UTF-8 is another encoding, and UTF-8 with one zero byte is UTF-16, which has zeros in every line.
    """
    text = content.decode("utf-8", errors="replace")
    max_damaged_characters = MAX_DAMAGED_SHARE * sum(character > "\x7f" for character in text)
    return text.count("\ufffd") <= max_damaged_characters and text.count("\0") <= MAX_BINARY_SHARE * len(text)


def _examined(content: bytes) -> bytes:
    """Return the start of the file, or from the first line with characters outside of ASCII, up to a line break."""
    if len(content) <= EXAMINED_BYTES:
        return content
    first = next((index for index, byte in enumerate(content) if byte > 0x7F), 0)
    begin = content.rfind(b"\n", 0, first) + 1
    # A unit of UTF-16 or UTF-32 must not be cut in two: the line break of the little-endian forms is their first byte.
    begin -= begin % 4
    end = content.rfind(b"\n", begin, begin + EXAMINED_BYTES)
    return content[begin : end if end > begin else begin + EXAMINED_BYTES]


def _is_binary(character: str) -> bool:
    is_space = character in "\t\n\r\f\v\x1a"
    return character == "\ufffd" or (unicodedata.category(character) in BINARY_CATEGORIES and not is_space)
