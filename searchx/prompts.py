"""Prompt templates: what is put around a short query before a model embeds it.

Models that learned from captions of the web answer a bare word less well than a sentence with it
(Radford et al., 2021, section 3.1.4); whether a model gains by it has to be measured.
"""

import re
from collections.abc import Sequence
from typing import Final

LONGEST: Final = 3  # words that are still a name for something rather than a description
_WEB_CAPTIONS: Final = ("a photo of {}",)  # "A photo of a {label}." of the CLIP paper, any number
# The seven that OpenAI found best for the labels of ImageNet (CLIP's Prompt_Engineering notebook).
_ENSEMBLE: Final = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_LATIN: Final = re.compile(r"[ A-Za-zÀ-ÖØ-öø-ɏ'\u2019-]+")


def templates_for(model: str) -> tuple[str, ...]:
    """Give the templates of a model by its stored name; none where none are known to help.

    `mini` has none: measured, each of nine lowers its average precision for labels and single
    words, and more captions lose than gain (``python -m tests.benchmarks.bench_prompts``).
    CLIP of OpenAI and LAION has the one that its paper found to help; it is not measured here.
    """
    architecture, _, weights = model.partition("/")
    is_clip = architecture.startswith(("ViT-", "RN")) and "SigLIP" not in architecture
    return _WEB_CAPTIONS if is_clip and weights.startswith(("openai", "laion")) else ()


def ensemble_for(model: str) -> tuple[str, ...]:
    """Give the templates around a label, whose mean stands for it; never none.

    For `mini` the bare word: measured, every ensemble lowers the average precision of labels
    (``python -m tests.benchmarks.bench_labels``).
    """
    return _ENSEMBLE if templates_for(model) else ("{}",)


def prompted(text: str, templates: Sequence[str]) -> list[str]:
    """Give the texts whose mean vector stands for `text`: one or more.

    A template is put around one to three words in Latin letters; whatever else it is, a sentence,
    a number, a file name, another script, the text alone comes back as it is.
    """
    words = text.split()
    is_short = 1 <= len(words) <= LONGEST and all(_WORD.fullmatch(one) for one in words)
    if not (templates and is_short and _LATIN.fullmatch(text.strip())):
        return [text]
    return [template.replace("{}", " ".join(words)) for template in templates]
