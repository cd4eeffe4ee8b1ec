"""Counting tokens: as many as the tokenizer gives where it need not cut."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from searchx.tokens import Tokens, trimmed

TEXTS = ["", "dog", "A dog!  on the beach", "a_dog " * 300, "Caf\u00e9 \ud800 狗在", "&amp; dog's"]
WORDS = ("[PAD]", "[EOS]", "[BOS]", "[CLS]", "[UNK]", "dog", "a", "the")
NO_MODEL = SimpleNamespace()


def save_words(place: Path, eos: bool) -> Path:
    """A Hugging Face tokenizer that knows a few words; with or without a token at the end."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if eos:
        words.post_processor = processors.TemplateProcessing("$A [EOS]", None, [("[EOS]", 1)])
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "eos", "bos", "cls", "unk")}
    make: Any = PreTrainedTokenizerFast
    make(tokenizer_object=words, model_max_length=8, **special).save_pretrained(place)
    return place


def uncut(tokenizer: Any, texts: list[str], padding: int) -> list[int]:
    whole = [text.encode("utf-8", "replace").decode() for text in texts]
    rows = tokenizer(whole, context_length=2000)
    return [int(count) for count in (rows != padding).sum(dim=1)]


def test_counts_are_those_of_open_clips_own_tokenizer() -> None:
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    tokens = Tokens(NO_MODEL, tokenizer)
    assert tokens.limit == 20
    assert tokens.count(TEXTS) == uncut(tokenizer, TEXTS, 0)


@pytest.mark.parametrize("eos", [True, False], ids=["with an end", "without"])
@pytest.mark.parametrize("clean", ["whitespace", "canonicalize"])
@pytest.mark.parametrize("mode", [None, "clips"])
def test_counts_are_those_of_hugging_faces_tokenizers(
    eos: bool, clean: str, mode: str | None, tmp_path: Path
) -> None:
    place = str(save_words(tmp_path, eos))
    tokenizer = open_clip.tokenizer.HFTokenizer(place, 20, clean=clean, tokenizer_mode=mode)
    tokens = Tokens(NO_MODEL, tokenizer)
    assert tokens.limit == 20
    assert tokens.count(TEXTS) == uncut(tokenizer, TEXTS, 0)
    assert tokens(TEXTS).shape == (len(TEXTS), 20)


def test_counting_and_cutting_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """Hugging Face's tokenizers keep in themselves whether they cut and pad."""
    tokens = Tokens(NO_MODEL, open_clip.tokenizer.HFTokenizer(str(save_words(tmp_path, True)), 20))
    texts = [f"dog {number} " + "the dog " * 60 for number in range(32)]
    counts, rows = tokens.count(texts), tokens(texts)

    def is_right(number: int) -> bool:
        return tokens.count(texts) == counts if number % 2 else torch.equal(tokens(texts), rows)

    with ThreadPoolExecutor(4) as workers:
        assert all(workers.map(is_right, range(200)))


def test_a_tower_with_fewer_positions_than_its_tokenizer_gives_is_the_limit() -> None:
    small: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    small |= {"vocab_size": 49408, "intermediate_size": 8, "max_position_embeddings": 12}
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    for tower, limit in (
        (BertModel(BertConfig(**small)), 12),
        (RobertaModel(RobertaConfig(**small, pad_token_id=1)), 10),
    ):
        model = SimpleNamespace(text=SimpleNamespace(transformer=tower))
        tokens = Tokens(model, tokenizer)
        assert tokens.limit == limit
        with torch.inference_mode():  # positions beyond the last one would raise
            tower(tokens(["a dog " * 100]))


def test_padding_that_all_rows_share_is_dropped_where_the_tower_masks_it() -> None:
    rows = torch.tensor([[5, 6, 0, 0], [5, 0, 0, 0]])
    masked = SimpleNamespace(text=SimpleNamespace(config=SimpleNamespace(pad_token_id=0)))
    assert trimmed(masked, rows).tolist() == [[5, 6], [5, 0]]
    assert trimmed(NO_MODEL, rows) is rows
