"""From bytes to characters: which encoding a text file has, and whether it is a text at all."""

import codecs
import re
import unicodedata
from typing import Final

from indexer.refusals import Refused

# ruff: noqa: RUF001 - quotation marks and dashes are meant, not what they look like
NOT_A_TEXT: Final = "not a text but binary data"

_MARKS: Final = (  # the longer one first: UTF-32 begins like UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXTS: Final = (  # how files begin that are often renamed, and could pass for UTF-16
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"PK\x03\x04", b"%PDF-", b"\x1f\x8b"),
    *(
        b"7z\xbc\xaf",
        b"\xd0\xcf\x11\xe0",
        b"\x7fELF",
        b"SQLite format 3\0",
        b"OggS",
        b"fLaC",
        b"ID3",
    ),
)
# What charset-normalizer may choose from; beyond these its guesses are rarely right.
_CANDIDATES: Final = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("koi8_r", "cp866", "cp850", "iso8859_2", "mac_roman"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
_NEAR_WESTERN: Final = {"cp1250", "cp1254", "cp1257", "iso8859_2"}
# Letters that Windows-1252 shows where the text was Polish, Czech, Turkish or from a Mac.
_NOT_WESTERN: Final = re.compile(r"[ðþýÐÞÝŠšŽžŸˆ\u201a„]\w|\w[ðþý¹³¿£¥¯¼¾±¶¦]")
_ICELANDIC: Final = re.compile(r"\A(?=.*[ðþ])(?=.*[áíóúæ])[^ìøùèšžŠŽ¹³]*\Z", re.DOTALL)
_LETTERS: Final = "àâäáãåæçéèêëíìîïñóòôöõøœúùûüÿßÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ"
_FEW: Final = 64  # letters beyond ASCII; of more of them statistics tell more than rules
_PLAINLY_WESTERN: Final = re.compile(f"[\\x00-\\x7f{_LETTERS}„“”‚‘’«»‹›–—€£§°©®·¿¡ªº¹²³¼½¾]*")
# What no word of the West has, though each letter of it occurs there: other encodings look so.
_NO_WESTERN_WORD: Final = re.compile(
    f"[{_LETTERS}]{{3}}"
    f"|[a-zà-ÿ][À-Þ]"  # a capital inside a word
    f"|[a-zA-Z{_LETTERS}][„‚¿¡£§]"  # what stands before words, behind a letter
    f"|[a-zA-Z{_LETTERS}][“”‘«»‹›–—€°©®ªº¹²³¼½¾][a-zA-Z{_LETTERS}]"
    f"|[£€¹²³¼½¾][a-zA-Z{_LETTERS}]"
    "|[õÕ].*[ûÛ]|[ûÛ].*[õÕ]",  # of Hungarian, where they stand for ő and ű
    re.DOTALL,
)
_HUNGARIAN: Final = re.compile(r"\A(?=.*[õû])(?=.*[áéíó])", re.DOTALL)  # two accents are lost
_NOT_HUNGARIAN: Final = re.compile(r"[àâãçèêîïñß]")
_SINGLE_KOREAN: Final = re.compile(r"[\u3131-\u318e]")  # what kana look like
_RUSSIAN: Final = re.compile(r"[ыьэюяА-Я]")  # beyond these it looks like Hebrew
_WIDER: Final = {  # what pages call by the smaller name (WHATWG's table of encodings)
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_DECLARABLE: Final = re.compile(
    r"cp(12\d\d|437|85\d|86\d|874|93\d|949|950)|iso8859-\d+|iso2022_\w+|koi8-\w+|mac-\w+|euc_\w+"
    r"|gb18030|hz|big5\w*|shift_jis\w*|johab|utf-(8|16(-[bl]e)?|32(-[bl]e)?)"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x7f]")
_CONTROL_BYTE: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x7f-\xff]")
_WINDOW: Final = 1 << 16  # bytes that are looked at to find an encoding


def decode_text(data: bytes, declared: str = "") -> str:
    r"""Give the text of a file, its newlines as "\n", stray control characters as spaces.

    The encoding is told by a byte order mark, or is UTF-8, UTF-16 or the ``declared`` one (by a
    web page); else it is estimated, Windows-1252 where nothing speaks for another.
    Raises Refused for an empty file and for what is not a text.
    """
    if not data:
        raise Refused("the file is empty")
    if data.startswith(_NO_TEXTS) and _CONTROL_BYTE.search(data[:_WINDOW]):
        raise Refused(NOT_A_TEXT)
    text = _decoded(data, declared)
    if _is_binary(text):
        raise Refused(NOT_A_TEXT)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", text)


def _decoded(data: bytes, declared: str) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            text = data.decode(name, "replace")
            if name != "utf-8-sig" and not _is_readable(text[:4096]):
                raise Refused(NOT_A_TEXT)
            return text
    if b"\0" in data[:_WINDOW]:
        return _utf16(data)
    if _is_shifted(data, declared):
        return data.decode("iso2022_jp", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(data, error.start, declared)


def _is_shifted(data: bytes, declared: str) -> bool:
    """Whether this is ISO-2022-JP: seven bits, so that UTF-8 would take it for its own."""
    if b"\x1b$" not in data[:_WINDOW]:
        return False
    if _codec(declared).startswith("iso2022_jp"):
        return True
    try:
        data.decode("iso2022_jp")
    except UnicodeDecodeError:
        return False
    return True


def _utf16(data: bytes) -> str:
    """Decode what has zero bytes and no mark: UTF-16 if that makes sense, else it is no text."""
    even, odd = data[0:_WINDOW:2].count(0), data[1:_WINDOW:2].count(0)
    names = ("utf-16-le", "utf-16-be") if odd >= even else ("utf-16-be", "utf-16-le")
    for name in names:
        if len(data) % 2 == 0 and _is_readable(data[:4096].decode(name, "replace")):
            return data.decode(name, "replace")
    raise Refused(NOT_A_TEXT)


def _is_readable(sample: str) -> bool:
    """Whether nearly all of these are characters that a text may hold."""
    strange = sum(
        unicodedata.category(letter) in ("Cc", "Cn", "Co", "Cs")
        for letter in sample
        if letter not in "\t\n\r\f\v"
    )
    return strange + sample.count("\ufffd") <= len(sample) / 100


def _not_utf8(data: bytes, first: int, declared: str) -> str:
    """Decode what is not clean UTF-8; ``first`` is the place of the first wrong byte."""
    codec = _codec(declared)
    if codec and not codec.startswith("utf"):
        return data.decode(codec, "replace")
    begin = max(0, data.rfind(b"\n", max(0, first - 2000), first) + 1, first - 2000)
    sample = _whole_letters(data[begin : begin + _WINDOW])
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    if sum(letter > "\x7f" for letter in text) > 5 * wrong:  # UTF-8 with a few broken letters
        return data.decode("utf-8", "replace")
    if len(_CONTROL.findall(text)) > len(text) / 200:  # saves asking for the encoding of a JPEG
        raise Refused(NOT_A_TEXT)
    return data.decode(legacy(sample), "replace")


def _codec(declared: str) -> str:
    """Give the codec of Python for an encoding named in a page, or "" where there is none."""
    try:
        name = codecs.lookup(declared.strip()).name if declared.strip().isascii() else ""
    except (LookupError, ValueError):
        return ""
    name = _WIDER.get(name, name)
    return name if _DECLARABLE.fullmatch(name) else ""


def _whole_letters(sample: bytes) -> bytes:
    """Cut a full window where no letter of two bytes can be torn apart."""
    if len(sample) < _WINDOW:
        return sample
    end = max(sample.rfind(byte) for byte in (b"\n", b" ", b"\t", b","))
    return sample[: end + 1] if end > _WINDOW // 2 else sample


def legacy(sample: bytes) -> str:
    """Estimate an encoding from before Unicode; Windows-1252 where nothing speaks for another."""
    if _is_plainly_western(sample):
        return "cp1252"
    from charset_normalizer import from_bytes  # late: most texts do not need it

    matches = list(from_bytes(sample, cp_isolation=_CANDIDATES))
    if not matches:
        return "cp1252"
    best = matches[0]
    near = {
        name
        for match in matches
        if match.chaos <= best.chaos + 0.1
        for name in (match.encoding, *match.could_be_from_charset)
    }
    if best.encoding in _NEAR_WESTERN and "cp1252" in near and _is_western(sample):
        return "cp1252"  # by far the most frequent of those that fit nearly alike
    if best.encoding == "cp949" and "euc_jp" in near and _SINGLE_KOREAN.search(str(best)):
        return "euc_jp"
    if best.encoding == "cp1251" and "cp1255" in near and not _RUSSIAN.search(str(best)):
        return "cp1255"
    return best.encoding


def _is_plainly_western(sample: bytes) -> bool:
    """Whether a short text makes words of the West in Windows-1252, where statistics often fail.

    Other encodings of Latin letters put signs inside of words, those of other scripts rows of
    letters with accents, and what fits both is rather from the West.
    """
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = sum(letter in _LETTERS for letter in text)
    letters = beyond + sum(letter.isascii() and letter.isalpha() for letter in text)
    return (
        beyond <= _FEW
        and 3 * beyond <= 2 * letters
        and _PLAINLY_WESTERN.fullmatch(text) is not None
        and _NO_WESTERN_WORD.search(text) is None
        and _is_western(sample)
    )


def _is_western(sample: bytes) -> bool:
    """Whether the letters that Windows-1252 shows are those of a language that it is for."""
    text = sample.decode("cp1252", "ignore")
    if _HUNGARIAN.search(text) and not _NOT_HUNGARIAN.search(text):
        return False
    return not _NOT_WESTERN.search(text) or bool(_ICELANDIC.search(text))


def _is_binary(text: str) -> bool:
    sample = text[:_WINDOW]
    if "\0" in text or len(_CONTROL.findall(sample)) > len(sample) / 200:
        return True
    return sample.count("\ufffd") > max(2, len(sample) / 10)
