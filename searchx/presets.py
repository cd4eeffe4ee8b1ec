"""Models by purpose, for people who do not know model names."""

from dataclasses import dataclass, replace
from typing import Final

SOURCE: Final = "open_clip, docs/openclip_retrieval_results.csv and its model cards"


@dataclass(frozen=True, slots=True)
class Preset:
    """A model by purpose, with what is published about it."""

    purpose: str
    model: str
    megabytes: int  # what is downloaded; 0: it ships with searchx
    gigaflops: float  # for one picture: how slow it is, on any machine
    recall: tuple[float, float] | None  # R@1 on COCO, percent: text to image, image to text
    languages: str
    licence: str
    note: str


PRESETS: Final = (
    Preset(
        *("embedded", "mini", 0, 2.6, None, "English", "Apache-2.0"),
        note="ships with searchx; everyday photos",
    ),
    Preset(
        *("fast", "ViT-B-32/laion2b_s34b_b79k", 605, 8.8, (39.3, 56.3), "English", "MIT"),
        note="the most used one",
    ),
    Preset(
        *("balanced", "ViT-B-32-SigLIP2-256/webli", 1510, 11.5, (47.2, 63.7), "many"),
        *("Apache-2.0",),
        note="about as fast, finds more",
    ),
    Preset(
        *("best", "ViT-gopt-16-SigLIP2-384/webli", 7480, 1350.0, None, "many", "Apache-2.0"),
        note="for a GPU",
    ),
    Preset(
        *("multilingual", "ViT-B-16-SigLIP2-256/webli", 1510, 46.8, (53.2, 69.7)),
        *("many, Chinese among them", "Apache-2.0"),
        note="finds more than balanced, at a quarter of its pace",
    ),
)


def in_eight_bits(model: str, base: str) -> Preset:
    """Describe a model that computes pictures in 8 bits, by what is known of its base."""
    note = f"{base} with pictures in 8 bits, made on this machine or brought to it"
    for preset in PRESETS:
        if preset.model == base:
            purpose = model.replace(base, preset.purpose)
            return replace(
                preset, purpose=purpose, model=model, megabytes=0, recall=None, note=note
            )
    same = "its base's"
    return Preset("", model, 0, 0.0, None, same, same, note=note)
