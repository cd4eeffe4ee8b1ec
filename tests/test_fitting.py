"""Fitting a picture is what open_clip does before it normalises, without open_clip."""

import pickle
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TypeAlias, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from searchx.errors import ModelError
from searchx.fitting import Fitting, Interpolation, ResizeMode
from searchx.records import Pixels

Floats: TypeAlias = NDArray[np.float32]  # (3, height, width)
ROOT = Path(__file__).resolve().parent.parent
MEAN, STD = [0.481, 0.457, 0.408], [0.268, 0.261, 0.275]
SIZES = [(1, 1), (64, 48), (48, 64), (31, 97), (97, 31), (33, 32), (7, 200), (201, 3), (640, 427)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def by_open_clip(image: Image.Image, preprocessing: dict[str, object]) -> Floats:
    """What open_clip itself makes of a picture, (3, height, width)."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(**preprocessing, mean=MEAN, std=STD)
    pixels: Floats = image_transform_v2(config, is_train=False)(image).numpy()
    return pixels


def normalised(pixels: Pixels) -> Floats:
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    rows = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return rows.transpose(2, 0, 1)


@pytest.mark.parametrize("size", [32, (32, 32), (32, 48), (45, 23)], ids=str)
@pytest.mark.parametrize("mode", get_args(ResizeMode))
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_a_fitted_picture_is_open_clips(
    mode: str, interpolation: str, size: int | tuple[int, int]
) -> None:
    preprocessing: dict[str, object] = {
        "size": size,
        "resize_mode": mode,
        "interpolation": interpolation,
        "fill_color": 127,
    }
    fit = Fitting.of(preprocessing)
    for number, (width, height) in enumerate(SIZES):
        if mode == "longest" and max(width / height, height / width) > 20:
            continue  # open_clip fails on them; the next test has them
        image = noise(width, height, number)
        found = fit(image)
        assert found.shape == (*fit.size, 3)
        assert np.abs(normalised(found) - by_open_clip(image, preprocessing)).max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from(get_args(ResizeMode)))
def test_pictures_of_any_size_are_fitted_as_open_clip_does(
    width: int, height: int, mode: str
) -> None:
    preprocessing: dict[str, object] = {"size": (24, 24), "resize_mode": mode, "fill_color": 9}
    image = noise(width, height)
    if mode == "longest" and min(round(24 * width / height), round(24 * height / width)) < 1:
        assert Fitting.of(preprocessing)(image).shape == (24, 24, 3)
        return
    expected = by_open_clip(image, preprocessing)
    assert np.abs(normalised(Fitting.of(preprocessing)(image)) - expected).max() < 1e-6


def test_what_is_not_said_is_as_in_open_clip() -> None:
    assert Fitting.of({"size": 32}) == Fitting((32, 32), "shortest", "bicubic", 0)
    assert Fitting.of({"size": [32, 48], "interpolation": None}) == Fitting((32, 48))


def test_pixels_are_bytes_in_one_piece() -> None:
    for mode, interpolation in product(get_args(ResizeMode), get_args(Interpolation)):
        pixels = Fitting((24, 40), mode, interpolation)(noise(70, 50))
        assert pixels.shape == (24, 40, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable  # torch warns of arrays that are not


def test_a_picture_that_is_too_narrow_to_resize_keeps_a_pixel() -> None:
    pixels = Fitting((24, 24), "longest", fill=7)(Image.new("RGB", (1000, 1), "white"))
    assert (pixels[:, :, 0] == 255).sum() == 24
    assert (pixels == 7).sum() == 23 * 24 * 3


def test_the_side_is_the_longer_one() -> None:
    assert Fitting((24, 40)).side == Fitting((40, 24)).side == 40


def test_it_travels_between_processes() -> None:
    fit = Fitting((24, 40), "longest", "bilinear", 3)
    assert pickle.loads(pickle.dumps(fit)) == fit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resize_mode": "stretch"}, 'resize mode "stretch" is not known; .*shortest, longest'),
        ({"interpolation": "cubic"}, 'interpolation "cubic" is not known; .*bicubic, bilinear'),
        ({"size": (0, 24)}, r"cannot see pictures of \(0, 24\)"),
    ],
)
def test_a_configuration_that_is_none_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        Fitting.of({"size": 24} | change)
    assert "\n" not in str(caught.value)


def test_fitting_needs_neither_torch_nor_open_clip() -> None:
    script = "import searchx.fitting, sys; print(*({'torch', 'open_clip'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == []
