"""What a prepared model is compared with torch on: texts of many languages, drawn pictures."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from searchx.fitting import Fit
from searchx.records import Pixels

TEXTS: Final = (
    "dog",
    "a photo of a dog that jumps into a lake",
    "Two people sit at a table in a café; the older one reads, the other one looks out.",
    "it's 7:45 p.m. — they've sold 1,024 of them @ $3.50 & left",
    "Ein kleiner Junge fährt Fahrrad über die Straße",
    "un chat noir sur le canapé, l'après-midi",
    "niños jugando al fútbol en la playa",
    "Кошка спит на подоконнике",
    "一只猫坐在窗台上",
    "窓辺で眠っている猫",
    "창가에 앉아 있는 고양이",
    "قطة تجلس على حافة النافذة",
    "חתול יושב על אדן החלון",
    "खिड़की पर बैठी बिल्ली",
    "แมวนั่งอยู่บนขอบหน้าต่าง",
    "con mèo ngồi trên bậu cửa sổ",
    "İSTANBUL'da GÜN BATIMI",
    "ﬁne \uff46\uff55\uff4c\uff4c\uff0d\uff57idth x² ½ №5 ™",
    "emoji 🐶👩‍👩‍👧 🇩🇪",
    "mojibake cafÃ© and &lt;b&gt;html&amp;lt;/b&amp;gt;",
    "under_scored-hyphen/slash\\back   spaces\tand\nlines",
    "<|endoftext|> <end_of_text> [SEP] </s> <pad>",
    "a" * 300,
    " ".join(["a long text that is cut somewhere"] * 40),
)
_PICTURES: Final = 6


def pictures(fit: Fit) -> Sequence[Pixels]:
    """Draw pictures with areas, edges, textures and noise, as an encoder takes them."""
    return [fit(_drawn(seed)) for seed in range(_PICTURES)]


def _drawn(seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    width, height = (480, 360) if seed % 2 else (360, 480)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
    picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(4 * seed + 2):
        x, y = int(random.integers(0, width - 40)), int(random.integers(0, height - 40))
        wide, tall = random.integers(10, 200, 2)
        colour = tuple(int(one) for one in random.integers(0, 256, 3))
        shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
        shape((x, y, x + int(wide), y + int(tall)), fill=colour)
    if seed == 0:
        return picture.filter(ImageFilter.GaussianBlur(6))
    grain = random.normal(0, 6 * seed, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))
