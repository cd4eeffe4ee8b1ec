"""Pictures to put into files, and how to compare what comes out."""

import io

import numpy as np
from PIL import Image

QUARTERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
TO_FILE = {  # how a camera held like this stores an upright scene
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quartered(width: int = 96, height: int = 64) -> Image.Image:
    """Paint an upright scene whose four quarters differ, so that no turn goes unseen."""
    image = Image.new("RGB", (width, height))
    for number, colour in enumerate(QUARTERS):
        corner = (number % 2 * width // 2, number // 2 * height // 2)
        image.paste(colour, (*corner, corner[0] + width // 2, corner[1] + height // 2))
    return image


def stored(scene: Image.Image, orientation: int) -> Image.Image:
    """Lay a scene as a file of this EXIF orientation holds it."""
    turn = TO_FILE[orientation]
    return scene if turn is None else scene.transpose(turn)


def packed(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def distance(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def colour_of(image: Image.Image) -> tuple[int, ...]:
    assert image.mode == "RGB"
    return tuple(np.asarray(image).reshape(-1, 3).mean(axis=0).round().astype(int).tolist())
