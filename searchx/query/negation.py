"""Plain words that say what must not be there, and the negative part that was perhaps meant.

An encoder hardly hears "without": "a beach without people" finds people. English, German, Chinese.
"""

import re
from typing import Final

from searchx.errors import BadInput
from searchx.query.groups import Groups
from searchx.query.reading import parse
from searchx.query.scanning import Scanner
from searchx.query.writing import signed
from searchx.records import Part

MAX_WORDS: Final = 40  # more in a row is a passage, not something to be found by its negatives
MAX_TEXT: Final = 1000  # characters, likewise
_LONGEST: Final = 3  # words of what must not be there
_STOPS: Final = ".,;:!?\u3002\uff0c\uff1b"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WITHOUT: Final = _set("without w/o excluding ohne")
_NO: Final = _set("no kein keine keinen keinem keiner")
_ARTICLES: Final = _set(
    "a an the any some its his her their my single ein eine einen einem der die das"
)
_ENDS: Final = _set(
    "in on at near with and but or nor by under over behind beside between during from for to"
    " is are that which who while where when as without no not im am auf an bei mit und"
    " aber oder"
)
_BEFORE_NOUN: Final = _ARTICLES | _set("one two three four many und") | _WITHOUT | _NO
_PLACES: Final = _set("in on at near with under behind beside inside wearing")
_FIXED: Final = _set(  # what follows and makes it a saying, a name or a sign
    "doubt borders end question exception fail saying limits warning delay reason further"
    " entry parking smoking trespassing exit entrance access swimming fishing diving vacancy"
    " stopping standing littering loitering cycling photography skating camping dumping turning"
    " one man mans man's way ways more longer matter problem idea time country place comment thanks"
    " signal filter limit such other less fear ahnung frage zweifel problem grund ende weitere"
)
_SIGNS: Final = _set("sign signs signpost poster allowed permitted zone symbol sticker label area")
_NEVER_AFTER_NOT: Final = _set(
    "only just even yet very so too all quite to far sure much many really always necessarily"
    " every everyone enough least last exactly for"
)
_NOT_AFTER: Final = _set(
    "say says saying said of or yes a an the this why chanel number dr whether"
)
_CHINESE: Final = re.compile(
    "(?P<before>[^有]*)(?:没有|沒有|不要)(?P<what>[^\u7684\uff0c\u3002\u3001,\\s有没不是]{1,6}?)"
    "(?:\u7684(?P<after>\\S+)|[\uff0c\u3002,]?$)"  # \u7684 ends what describes a noun
)
_CHINESE_FIXED: Final = ("关系", "问题", "什么", "意思", "办法", "时间")


def notice(text: str) -> str | None:
    """Offer the query with a negative part for what plain words exclude; None where none do.

    "a beach without people" gives "a beach -people". Signs and sayings ("no entry", "not only")
    are left alone, and so is what is quoted.
    """
    if len(text) > MAX_TEXT:
        return None
    try:
        pieces = _pieces(text)
        words = _rewritten(pieces)
        if words == [one for some in pieces for one in some]:
            return None  # the usual case
        offered = " ".join(words)
        before, after = parse(text), parse(offered)
    except BadInput:
        return None
    return offered if len(after.parts) > len(before.parts) else None


def _pieces(text: str) -> list[list[str]]:
    """Give stretches of plain words, and between them, alone, whatever is syntax."""
    scanner = Scanner(text)
    groups = Groups(scanner)
    pieces: list[list[str]] = [[]]
    place = scanner.start(0)
    while place < len(scanner.text):
        group = groups.group(place)
        token = scanner.token(place)
        end = group[1] if group else token.end
        if token.is_plain and not token.quoted and not group:
            pieces[-1].append(scanner.text[place:end])
        else:
            pieces += [[scanner.text[place:end]], []]
        place = scanner.start(end)
    return pieces


def _rewritten(pieces: list[list[str]]) -> list[str]:
    found: list[str] = []
    for number, words in enumerate(pieces):
        is_syntax = number % 2 == 1
        found += words if is_syntax or len(words) > MAX_WORDS else _without(words)
    return found


def _without(words: list[str]) -> list[str]:
    """Take what must not be there out of the words, and put it behind them as negatives."""
    kept: list[str] = []
    negatives: list[str] = []
    place = 0
    while place < len(words):
        found = _chinese(words[place]) or _negated(words, place)
        if found is None:
            kept.append(words[place])
            place += 1
            continue
        rest, excluded, place_behind = found
        place = place_behind or place + 1
        if kept:
            kept[-1] = kept[-1].rstrip(_STOPS)
        kept += rest
        negatives += [signed(Part(one, weight=-1.0)) for one in excluded]
    return kept + negatives


def _chinese(word: str) -> tuple[list[str], list[str], int] | None:
    found = _CHINESE.fullmatch(word)
    if not found or found["what"] in _CHINESE_FIXED:
        return None
    rest = (found["before"].rstrip(_STOPS) + (found["after"] or "")).strip()
    return [rest] if rest else [], [found["what"]], 0


def _negated(words: list[str], place: int) -> tuple[list[str], list[str], int] | None:
    """Give what is left, what is excluded and the place behind, if it is negated here."""
    bare = [one.lower().strip(_STOPS) if one[-1:] in _STOPS else one.lower() for one in words]
    after = _trigger(bare, place)
    if after is None or words[after - 1][-1] in _STOPS:
        return None
    excluded: list[str] = []
    while True:
        end = _object(words, bare, after)
        first = _first_noun(bare, after)
        if first >= end or bare[first] in _FIXED or bare[first][:1].isdigit():
            break
        leading = words[after : after + 1] if bare[after] in _PLACES else []
        kept = words[after:end] if leading else words[first:end]
        excluded.append(" ".join(kept).rstrip(_STOPS))
        after = end
        if not _goes_on(words, bare, after):
            break
        after += 1
    return ([], excluded, after) if excluded else None


def _trigger(bare: list[str], place: int) -> int | None:
    """Give the place behind the words that negate, if such begin here."""
    word, rest = bare[place], bare[place + 1 :]
    before = bare[place - 1] if place else ""
    if word in _WITHOUT:
        return place + 1
    if word in ("with", "and", "but", "mit", "und", "aber") and rest[:1] and rest[0] in _NO:
        return None if _is_sign(bare, place + 2) else place + 2
    if word in _NO:
        return None if before in _NOT_AFTER or _is_sign(bare, place + 1) else place + 1
    if word in ("but", "and") and rest[:1] == ["not"]:
        return place + 2 if _can_follow_not(bare, place + 2, True) else None
    if word in ("that", "which", "who") and rest[:2] in (["is", "not"], ["are", "not"]):
        return place + 3 if _can_follow_not(bare, place + 3, True) else None
    if word == "not" and before not in ("why", "if", "or", "do", "does", "can", "is", "are"):
        return place + 1 if _can_follow_not(bare, place + 1, False) else None
    return None


def _is_sign(bare: list[str], place: int) -> bool:
    """Tell whether what follows is a sign or a saying, which is to be seen itself."""
    return bool(_SIGNS & set(bare[place : place + 4])) or place >= len(bare)


def _can_follow_not(bare: list[str], place: int, joined: bool) -> bool:
    word = bare[place] if place < len(bare) else ""
    if word in _NEVER_AFTER_NOT:
        return False
    return bool(word) and (joined or word in _ARTICLES | _PLACES or word.endswith("ing"))


def _first_noun(bare: list[str], place: int) -> int:
    """Give the place behind articles, and a preposition before them."""
    if place < len(bare) and bare[place] in _PLACES:
        place += 1
    while place < len(bare) and bare[place] in _ARTICLES:
        place += 1
    return place


def _object(words: list[str], bare: list[str], place: int) -> int:
    """Give the place where what is excluded ends."""
    end = first = _first_noun(bare, place)
    while end < len(words) and end < first + _LONGEST and bare[end] not in _ENDS:
        end += 1
        if words[end - 1][-1] in _STOPS:
            break
    return end


def _goes_on(words: list[str], bare: list[str], place: int) -> bool:
    """Tell whether more is excluded: "without cars or people", but not "without cars and a dog"."""
    if place + 1 >= len(bare) or words[place - 1][-1] in _STOPS:
        return False
    if bare[place] in ("or", "nor", "oder"):
        return True
    return bare[place] in ("and", "und") and bare[place + 1] not in _BEFORE_NOUN
