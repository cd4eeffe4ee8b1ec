"""Forecasts of how long a folder would take, from what was measured."""

import pytest

from indexer.checkup import Folder, Machine, Pace, forecasts_of, recommended
from searchx.presets import PRESETS

MACHINE = Machine(2, 16 << 30, 12 << 30, 1 << 40, None, False, {})
MINI = Pace("mini", "OpenVINO", 50.0, 0.003)


def folder(count: int, decoded: float | None = 100.0) -> Folder:
    return Folder("/photos", count, 0, count * 1000, decoded)


def test_on_a_processor_decoding_and_embedding_take_turns() -> None:
    first, second, *_ = forecasts_of(MINI, folder(1000), MACHINE)
    assert first.seconds == pytest.approx(1000 * (1 / 50 + 1 / 100))
    assert second.images == pytest.approx(50 * PRESETS[0].gigaflops / PRESETS[1].gigaflops)
    assert first.fits_memory


def test_a_gpu_embeds_while_the_processor_decodes() -> None:
    machine = Machine(2, 16 << 30, 12 << 30, 1 << 40, "a GPU", False, {})
    first, *_ = forecasts_of(MINI, folder(1000), machine)
    assert first.seconds == pytest.approx(1000 / 50)


def test_the_better_model_is_recommended_as_long_as_it_takes_no_more_than_an_hour() -> None:
    assert recommended(forecasts_of(MINI, folder(100), MACHINE)) == "multilingual"
    assert recommended(forecasts_of(MINI, folder(10_000), MACHINE)) == "balanced"
    assert recommended(forecasts_of(MINI, folder(10_000_000), MACHINE)) == "embedded"
    small = Machine(2, 2 << 30, 1 << 30, 1 << 40, None, False, {})
    assert recommended(forecasts_of(MINI, folder(100), small)) == "embedded"


def test_without_a_folder_ten_thousand_pictures_are_assumed() -> None:
    first, *_ = forecasts_of(MINI, None, MACHINE)
    assert first.seconds == pytest.approx(10_000 / 50)
    first, *_ = forecasts_of(MINI, folder(0, None), MACHINE)
    assert first.seconds == 0


def test_of_a_model_that_is_no_preset_nothing_is_forecast() -> None:
    other = Pace("local-dir:/models/mine", "OpenVINO", 50.0, 0.003)
    assert forecasts_of(other, None, MACHINE) == ()
    assert recommended(()) is None
