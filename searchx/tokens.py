"""Texts to the tokens of an open_clip model, and how many tokens a text has."""

import re
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import torch

_BATCH: Final = 1024  # texts counted in one call; more is not faster, and their ids take memory
_LONG_RUN: Final = re.compile(r"(\S{200})(?=\S)")
_MOST_WORDS: Final = 200_000


class Tokens:
    """A model's tokenizer. Safe to call from many threads.

    One call at a time goes through it: Hugging Face's tokenizers keep in themselves whether they
    cut and pad, and counting must not cut.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._lock = threading.Lock()
        self._count = _count_hugging_face if hasattr(tokenizer, "tokenizer") else _count_simple
        # Tokens of a text that the model reads, special ones included; the rest is cut off.
        self.limit = min(int(tokenizer.context_length), _positions(model))

    def __call__(self, texts: Sequence[str]) -> "torch.Tensor":
        """Give the tokens of some texts, (n, used), each cut at the limit."""
        with self._lock:
            rows = self._tokenizer(_whole(texts), context_length=self.limit)
        return trimmed(self._model, rows)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut.

        Where a text has more than 200 characters without a space, this may be a little off.
        """
        counts: list[int] = []
        for start in range(0, len(texts), _BATCH):
            with self._lock:  # anew for each batch, so that a query need not wait for all
                counts += self._count(self._tokenizer, _whole(texts[start : start + _BATCH]))
        return counts


def trimmed(model: Any, tokens: "torch.Tensor") -> "torch.Tensor":
    """Drop the padding that all rows (n, context) share, where the text tower masks its padding.

    Hugging Face towers do; for them it changes nothing but the time.
    """
    config = getattr(getattr(model, "text", None), "config", None)
    if config is None:
        return tokens
    return tokens[:, : int((tokens != config.pad_token_id).sum(dim=1).max())]


def _whole(texts: Sequence[str]) -> list[str]:
    """Replace half characters (lone surrogates), which no tokenizer takes."""
    return [text.encode("utf-8", "replace").decode() for text in texts]


def _positions(model: Any) -> int:
    """Tell how many tokens a Hugging Face text tower has positions for; the others have enough.

    RoBERTa and its kin count positions from behind that of the padding on.
    """
    tower = getattr(getattr(model, "text", None), "transformer", None)
    for name, part in tower.named_modules() if tower is not None else ():
        if name.endswith("position_embeddings") and hasattr(part, "num_embeddings"):
            padding = part.padding_idx
            return int(part.num_embeddings) - (0 if padding is None else padding + 1)
    return sys.maxsize


def _count_hugging_face(tokenizer: Any, texts: list[str]) -> list[int]:
    """Count for open_clip's HFTokenizer and SigLipTokenizer, which clean a text first."""
    clean = getattr(tokenizer, "clean_fn", None) or _canonical
    added = 3 if getattr(tokenizer, "tokenizer_mode", "") == "clips" else 0  # it adds them itself
    encoded = tokenizer.tokenizer(
        [clean(text) for text in texts],
        add_special_tokens=not added,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # a text over the limit is what is asked about, nothing to warn of
    )
    return [len(ids) + added for ids in encoded["input_ids"]]


def _canonical(text: str) -> str:
    from open_clip.tokenizer import get_clean_fn

    return cast(str, get_clean_fn("canonicalize")(text))


def _count_simple(tokenizer: Any, texts: list[str]) -> list[int]:
    """Count for open_clip's SimpleTokenizer, which puts a token before and one after each text.

    Its time grows with the square of a word's length (16 s for 40,000 letters), so what is longer
    than a word is counted in pieces.
    """
    counts = [len(tokenizer.encode(_LONG_RUN.sub(r"\1 ", text))) + 2 for text in texts]
    if len(tokenizer.cache) > _MOST_WORDS:  # it remembers every word that it ever saw
        special = [tokenizer.decoder[token] for token in tokenizer.all_special_ids]
        tokenizer.cache = {name: name for name in special}
    return counts
