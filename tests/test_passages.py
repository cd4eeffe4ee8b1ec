import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import searchx
from indexer.prose.passages import LETTERS_PER_TOKEN, Passage, split
from indexer.prose.sentences import _sentences
from indexer.prose.texts import Extract
from searchx.identity import digest_text, normalise

SHIPPED = Path(searchx.__file__).parent / "models" / "mini" / "tokenizer.json"


def count_words(texts: Sequence[str]) -> list[int]:
    """Words and single CJK letters, and two special tokens, as BERT counts."""
    return [len(re.findall(r"[\u3000-\u9fff]|[^\s\u3000-\u9fff]+", text)) + 2 for text in texts]


def count_letters(texts: Sequence[str]) -> list[int]:
    """A tokenizer for which joined pieces take more than the sum of them."""
    return [len(text) + 2 for text in texts]


def cut(text: str, limit: int = 64) -> list[str]:
    return [passage.text for passage in split(Extract(text), count_words, limit)]


def test_a_paragraph_is_a_passage_with_its_line_and_place() -> None:
    text = "\n\nA red\nbarn.\n  \n\n  Snow. White snow.\n"
    first, second = split(Extract(text, fragment="a.txt", subject="/a.jpg"), count_words, 64)
    assert first == Passage("A red barn.", "a.txt", None, 3, 2, 13, "/a.jpg")
    assert (second.text, second.line) == ("Snow. White snow.", 7)
    assert text[second.start : second.end] == "Snow. White snow."


def test_lines_are_left_out_where_they_mean_nothing() -> None:
    (passage,) = split(Extract("Snow.", page=7, lines=False), count_words, 64)
    assert (passage.line, passage.page) == (None, 7)


def test_a_text_of_spaces_has_no_passage() -> None:
    assert cut(" \n\t\n\f ") == []
    assert cut("") == []


def test_a_marked_heading_goes_with_what_is_below_it() -> None:
    assert cut("# Farm\n\n## Barns\n\nA red barn.\n\nSnow.") == [
        "# Farm ## Barns A red barn.",
        "Snow.",
    ]
    assert cut("Farm\n====\n\nA red barn.\n\n---\n\nSnow.") == [
        *("Farm ==== A red barn.", "---", "Snow.")
    ]
    assert cut("====\nFarm\n====\n\nA barn.") == ["==== Farm ==== A barn."]
    assert cut("A barn.\n\n# The end") == ["A barn.", "# The end"]


def test_a_heading_stays_with_the_beginning_of_a_long_paragraph() -> None:
    passages = cut("# Farm\n\n" + "The barn is red and old. " * 10, limit=20)
    assert passages[0] == "# Farm The barn is red and old. The barn is red and old."
    assert {len(passage.split()) for passage in passages[1:]} <= {6, 12, 18}


def test_a_long_paragraph_is_cut_where_sentences_end() -> None:
    text = "\n".join(f"Number {number} " + "word " * 17 + "end." for number in range(7))
    whole = [normalise(line) for line in text.split("\n")]
    passages = split(Extract(text), count_words, 62)
    assert [one.text for one in passages] == [" ".join(whole[at : at + 3]) for at in (0, 3, 6)]
    assert [one.line for one in passages] == [1, 4, 7]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Dr. Smith and Mrs. Jones met. They left.", 2),
        ("It costs 3.50 dollars, e.g. in Paris. He paid.", 2),
        ("See fig. 3 and No. 5 there. It is red.", 2),
        ("J. R. R. Tolkien wrote it. I read it.", 2),
        ("Am 3. Mai schneite es, d.h. z.B. Tee. Es war kalt.", 2),
        ("He waited ... and left. Then?! Yes!", 3),
        ('"Stop!" he said. "Why?" She ran.', 3),
        ("See example.org for more. Done.", 2),
        ("Он пришёл. Потом ушёл.", 2),
    ],
)
def test_points_inside_sentences_do_not_end_them(text: str, number: int) -> None:
    assert len(list(_sentences(text, 0, len(text)))) == number


def test_sentences_without_spaces_between_them_are_cut() -> None:
    assert cut("犬が雪の中を走る。" * 5, limit=22) == [
        *("犬が雪の中を走る。" * 2, "犬が雪の中を走る。" * 2, "犬が雪の中を走る。")
    ]


def test_the_points_of_a_list_stay_whole() -> None:
    points = [f"- point {number} with " + "many words " * 5 for number in range(6)]
    passages = cut("\n".join(points), limit=33)
    assert passages == [normalise(" ".join(points[at : at + 2])) for at in (0, 2, 4)]


def test_a_long_sentence_is_cut_at_clauses_then_lines_then_words() -> None:
    clauses = [
        "one two three four five six,",
        "seven eight nine ten eleven twelve;",
        "and the rest",
    ]
    assert cut(" ".join(clauses), limit=10) == clauses
    lines = ["one two three four five", "six seven eight nine ten", "and so on it goes"]
    assert cut("\n".join(lines), limit=8) == lines
    passages = cut(" ".join(f"word{number}" for number in range(100)), limit=12)
    assert max(len(passage.split()) for passage in passages) <= 10
    assert len(passages) <= 20


def test_a_caption_is_one_passage_where_it_fits() -> None:
    caption = "A barn.\n\nIt is red.\n\n- really"
    atomic = split(Extract(caption, atomic=True), count_words, 64)
    assert [one.text for one in atomic] == ["A barn. It is red. - really"]
    assert len(cut(caption)) == 3
    assert len(split(Extract("A barn. " * 40, atomic=True), count_words, 64)) == 2


def test_a_word_without_end_is_cut_by_its_letters() -> None:
    passages = cut("a" * 10_000)
    assert max(len(passage) for passage in passages) == LETTERS_PER_TOKEN * 64
    assert "".join(passages) == "a" * 10_000
    assert len(cut("雪" * 2000)) <= 64


def test_letters_keep_their_accents_when_a_word_is_cut() -> None:
    for passage in cut("e\u0301" * 5_000):
        assert not unicodedata.combining(passage[0])


def test_a_wrong_sum_of_tokens_does_not_break_the_limit() -> None:
    text = "One two. " * 50
    passages = split(Extract(text), count_letters, 40)
    assert max(count_letters([one.text for one in passages])) <= 40
    assert " ".join(one.text for one in passages) == normalise(text)


TEXTS = st.text(
    alphabet=st.sampled_from("ab1AZ.!?,;:-#= \n\n\t\f\"'。、雪é\u0301\u0344\ud800\u3000…"),
    max_size=400,
)
COUNTS = st.sampled_from([count_words, count_letters])


@given(TEXTS, st.integers(5, 40), COUNTS, st.booleans())
def test_laws_of_passages(text: str, limit: int, count: object, atomic: bool) -> None:
    """Nothing is lost, the spans are true and in order, the limit is kept."""
    assert callable(count)
    passages = split(Extract(text, atomic=atomic), count, limit)
    reach = 0
    for one in passages:
        assert reach <= one.start < one.end <= len(text)
        assert text[reach : one.start].strip() == ""
        assert normalise(text[one.start : one.end]) == one.text
        assert one.line == 1 + text[: one.start].count("\n")
        assert count([one.text])[0] <= limit or one.end - one.start == 1
        assert len(one.text) <= LETTERS_PER_TOKEN * limit
        reach = one.end
    assert text[reach:].strip() == ""


@given(TEXTS, st.integers(5, 40), COUNTS)
def test_a_passage_is_its_own_only_passage(text: str, limit: int, count: object) -> None:
    assert callable(count)
    for one in split(Extract(text), count, limit):
        assert [again.text for again in split(Extract(one.text), count, limit)] == [one.text]


@pytest.mark.parametrize(
    "text",
    [
        *("a" * 2_000_000, "." * 2_000_000, ". " * 500_000, "雪" * 1_000_000, "- a\n" * 300_000),
        *(
            "a" + " " * 4_000_000 + "b",
            "\n " * 1_000_000 + "a",
            "# a\n\n" * 200_000,
            "'" * 2_000_000,
        ),
        *("1." * 500_000, "\u0301" * 500_000, ", " * 500_000, "=\n" * 300_000),
    ],
    ids=lambda text: repr(text[:6]),
)
@pytest.mark.timeout(60)  # linear work takes 1 to 3 seconds; quadratic work takes hours
def test_texts_made_to_take_long_do_not(text: str) -> None:
    passages = split(Extract(text), count_words, 64)
    assert passages[0].start == len(text) - len(text.lstrip())
    assert passages[-1].end == len(text.rstrip())


@pytest.mark.skipif(not SHIPPED.exists(), reason="the shipped model is not in this checkout")
def test_the_real_tokenizer_finds_every_passage_within_its_limit() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(SHIPPED))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(one.ids) for one in tokenizer.encode_batch(list(texts))]

    text = Path(__file__).read_text(encoding="utf-8") + "Ein unaussprechliches Wort. " * 200
    text += "雪が降る" * 300 + "https://example.org/" + "q1x" * 500
    passages = split(Extract(text), count, 64)
    counts = count([one.text for one in passages])
    assert max(counts) <= 64
    assert sum(counts) / len(counts) > 20
    assert "".join("".join(one.text.split()) for one in passages) == "".join(
        normalise(text).split()
    )


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_equal_texts_have_one_digest() -> None:
    apart = unicodedata.normalize("NFD", " Café\n noir")
    assert digest_text(apart) == digest_text("Café noir")
    assert len(digest_text("")) == 64
    assert digest_text("a") != digest_text("b")
