"""Templates: around a few plain words, of models that are known to gain, and nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.prompts import prompted, templates_for

CLIP = ("a photo of {}",)


@pytest.mark.parametrize("text", ["dog", "tennis racket", "red-haired girl", "Köln", "  dog "])
def test_a_few_plain_words_get_every_template(text: str) -> None:
    words = text.strip()
    assert prompted(text, CLIP) == [f"a photo of {words}"]
    assert prompted(text, ("{}", "{} outside")) == [words, f"{words} outside"]


@pytest.mark.parametrize(
    "text",
    [
        "a dog on a beach",
        "Dogs bark.",
        "what?",
        "IMG_2034.jpg",
        "2019",
        "собака",
        "犬",
        "שלום",
        "🐶",
        "dog {}",
        "",
        "  ",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert prompted(text, CLIP) == [text]


@settings(deadline=None)
@given(st.text())
def test_without_templates_every_text_stays_as_it_is(text: str) -> None:
    assert prompted(text, ()) == [text]


@settings(deadline=None)
@given(st.text())
def test_a_text_always_gives_one_text_for_each_template_or_itself(text: str) -> None:
    made = prompted(text, ("{}, seen", "a {}"))
    words = " ".join(text.split())
    assert made in ([text], [f"{words}, seen", f"a {words}"])


@pytest.mark.parametrize(
    ("model", "templates"),
    [
        ("mini", ()),
        ("ViT-B-32/openai", CLIP),
        ("ViT-B-32/laion2b_s34b_b79k", CLIP),
        ("RN50/openai", CLIP),
        ("ViT-B-32-SigLIP2-256/webli", ()),
        ("ViT-H-14-378-quickgelu/dfn5b", ()),
        ("local-dir:/models/openai", ()),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", ()),
        ("", ()),
    ],
)
def test_a_model_has_the_templates_that_are_known_to_help_it(
    model: str, templates: tuple[str, ...]
) -> None:
    assert templates_for(model) == templates
