import json
import pickle
import random
import shutil
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from searchx.cutting import Cut, same_neighbours
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import canonical_name
from searchx.encoder.plain import OpenClipEncoder
from searchx.errors import BadInput, ModelError
from searchx.halving import enough_memory, in_halves
from searchx.labels.classifier import Classifier
from searchx.labels.vocabulary import Vocabulary
from searchx.presets import PRESETS
from searchx.records import Vectors
from searchx.relevance import Background, Direction
from tests.tiny_model import assert_cut_at_the_limit, save_tiny_model


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(place)
    return place


@pytest.fixture(scope="module")
def tiny(directory: Path) -> Encoder:
    return load_encoder(str(directory), "cpu")


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32/laion2b_s34b_b79k",
        "ViT-B-32__laion2b_s34b_b79k",
        "ViT-B-32::laion2b_s34b_b79k",
        "ViT-B-32:laion2b_s34b_b79k",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "  ViT-B-32/laion2b_s34b_b79k\n",
        "fast",
    ],
)
def test_every_usual_way_to_write_a_name_is_one_name(name: str) -> None:
    assert canonical_name(name) == "ViT-B-32/laion2b_s34b_b79k"


def test_the_stored_form_of_a_name_is_its_own_stored_form(directory: Path) -> None:
    names = [preset.model for preset in PRESETS] + ["hf-hub:org/name", str(directory)]
    for name in names:
        assert canonical_name(canonical_name(name)) == canonical_name(name)
    for preset in PRESETS:
        assert canonical_name(preset.purpose) == preset.model


def test_a_model_directory_is_named_by_its_whole_path(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory.parent)
    assert canonical_name("tiny") == f"local-dir:{directory}"
    assert canonical_name("local-dir:tiny") == f"local-dir:{directory}"
    assert canonical_name(f"local-dir:{directory}") == f"local-dir:{directory}"


@pytest.mark.parametrize("name", ["", "   ", "/", "a/", "/b", "a/b/c", "nothing", "a::b::c"])
def test_a_name_that_is_none_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError, match="is not known; write ARCHITECTURE/WEIGHTS") as caught:
        canonical_name(name)
    assert "\n" not in str(caught.value)


def test_an_unknown_architecture_is_answered_with_near_ones() -> None:
    with pytest.raises(ModelError, match=r'"VIT-B32" is not one .* near: ViT-B-32'):
        load_encoder("VIT-B32/openai", "cpu")


def test_unknown_weights_are_answered_with_those_there_are() -> None:
    with pytest.raises(ModelError, match=r'ViT-B-32 has no weights "laion3b"; there are: openai'):
        load_encoder("ViT-B-32/laion3b", "cpu")


def test_a_directory_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it needs open_clip_config") as caught:
        load_encoder(f"local-dir:{tmp_path}", "cpu")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_read_are_named(directory: Path, tmp_path: Path) -> None:
    place = shutil.copytree(directory, tmp_path / "broken")
    (place / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_encoder(str(place), "cpu")
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_refused(directory: Path) -> None:
    with pytest.raises(
        ModelError, match='device "tpu" is not known; use auto, cpu, cuda or cuda:0'
    ):
        load_encoder(str(directory), "tpu")


def test_several_devices_share_a_batch(directory: Path, tiny: Encoder) -> None:
    """Two copies on the processor stand for two GPUs: what is divided comes back in order."""
    several = load_encoder(str(directory), "cpu,cpu")
    assert several.space == tiny.space
    assert several.batch_size == 2 * tiny.batch_size
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(37)]
    pixels = [tiny.fit(one) for one in pictures]
    texts = [f"text number {number}" for number in range(50)]
    for count in (0, 1, 37):
        rows = several.embed_images(pixels[:count])
        assert np.allclose(rows, tiny.embed_images(pixels[:count]), atol=1e-6)
        rows = several.embed_texts(texts[:count])
        assert np.allclose(rows, tiny.embed_texts(texts[:count]), atol=1e-6)
    assert several.count_tokens(texts) == tiny.count_tokens(texts)
    with pytest.raises(ModelError, match="torch sees no such GPU"):
        load_encoder(str(directory), "cuda:all" if no_gpu() else "cuda:0,cuda:99")
    with pytest.raises(ModelError, match='device "" is not known'):
        load_encoder(str(directory), "cpu,")


def no_gpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def test_vectors_are_unit_rows_in_order(tiny: Encoder) -> None:
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(5)]
    pixels = [tiny.fit(picture) for picture in pictures]
    assert tiny.fit.side == 32
    assert pixels[0].shape == (32, 32, 3)
    together = tiny.embed_images(pixels)
    assert together.dtype == np.float32
    assert together.shape == (5, tiny.space.dim) == (5, 16)
    alone = np.concatenate([tiny.embed_images([one]) for one in pixels])
    assert np.allclose(together, alone, atol=1e-5)
    texts = [f"picture number {number}" for number in range(300)]
    rows = tiny.embed_texts(texts)
    assert np.allclose(rows[[0, 299]], tiny.embed_texts([texts[0], texts[299]]), atol=1e-5)
    for vectors in (together, rows):
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert tiny.embed_images([]).shape == tiny.embed_texts([]).shape == (0, 16)


@pytest.mark.parametrize("most", [3, 1, 0])
def test_what_memory_does_not_hold_is_computed_in_halves(most: int) -> None:
    import torch

    told: list[int] = []

    def compute(items: Sequence[int]) -> Vectors:
        torch.empty(1 if len(items) <= most else 1 << 60, dtype=torch.uint8)
        return np.array(items, np.float32)[:, None]

    if most == 0:
        with pytest.raises(ModelError, match="not enough memory"), enough_memory():
            compute([1])
        with pytest.raises(ModelError, match="not enough memory for this model; use a smaller one"):
            in_halves(range(10), compute, told.append)
    else:
        rows = in_halves(range(10), compute, told.append)
        assert rows.ravel().tolist() == [*range(10)]
        assert min(told) == (2 if most == 3 else 1)


def test_pixels_that_were_not_fitted_are_refused(tiny: Encoder) -> None:
    with pytest.raises(
        BadInput, match=r"uint8 \(32, 48, 3\), the encoder takes uint8 \(32, 32, 3\)"
    ):
        tiny.embed_images([np.zeros((32, 48, 3), np.uint8)])


def test_pictures_reach_the_model_as_open_clip_prepares_them(
    tiny: Encoder, directory: Path
) -> None:
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    picture = Image.effect_noise((90, 70), 80).convert("RGB")
    with torch.inference_mode():
        rows = model.eval().encode_image(transform(picture)[None], normalize=True)
    assert np.allclose(tiny.embed_images([tiny.fit(picture)]), rows.numpy(), atol=1e-6)


def test_fitting_travels_to_another_process(tiny: Encoder) -> None:
    picture = Image.effect_noise((90, 70), 80).convert("RGB")
    there = pickle.loads(pickle.dumps(tiny.fit))
    assert np.array_equal(there(picture), tiny.fit(picture))


def test_a_text_of_as_many_tokens_as_the_limit_is_seen_to_its_end(tiny: Encoder) -> None:
    assert tiny.text_limit == 16
    assert_cut_at_the_limit(tiny)


def test_tokens_are_counted_however_many_they_are(tiny: Encoder) -> None:
    texts = ["", "dog", "a dog", "a dog " * 1000, "DOG!", "\ud800", "dog <end_of_text>"]
    assert tiny.count_tokens(texts) == [2, 3, 4, 2002, 4, 3, 4]
    assert tiny.count_tokens(["dog"] * 3000) == [3] * 3000
    assert tiny.count_tokens([]) == []


def test_a_word_without_end_is_counted_in_bounded_time(tiny: Encoder) -> None:
    """The tokenizer's own time for a word grows with the square of its length: hours for this."""
    letters = random.Random(0).choices(string.ascii_lowercase, k=200_000)
    assert tiny.count_tokens(["".join(letters)])[0] > 50_000


def test_a_model_that_judges_pairs_says_itself_how_likely_labels_fit(
    tiny: Encoder, tmp_path: Path
) -> None:
    import torch

    judge = OpenClipEncoder(save_tiny_model(tmp_path / "judge", bias=-6.0), "cpu")
    assert judge.pairing is not None and judge.pairing.bias == -6.0
    assert judge.pairing.scale == pytest.approx(1 / 0.07)
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(3)]
    texts = ["a dog", "a red car", "the sea"]
    said = [f"{one.split()[-1]}: {one}" for one in texts]
    rows, references = judge.embed_images(pixels), judge.embed_texts(["some", "everyday", "words"])
    background = Background.of(Direction("text", "image"), 3, rows, references)
    shares = Classifier.of(Vocabulary.of(said), judge, background).shares(rows)
    model, tokenizer = judge.parts()
    with torch.inference_mode():
        seen = torch.from_numpy(rows)
        read = torch.nn.functional.normalize(model.encode_text(tokenizer(texts)), dim=-1)
        expected = torch.sigmoid(model.logit_scale.exp() * seen @ read.T + model.logit_bias)
    np.testing.assert_allclose(shares, expected.numpy(), rtol=1e-3)
    grouped = Classifier.of(Vocabulary.of([" | ".join(said)]), judge, background).shares(rows)
    odds = shares / (1 - shares)
    np.testing.assert_allclose(grouped, odds / (1 + odds.sum(1, keepdims=True)), rtol=1e-3)
    assert getattr(tiny, "pairing", None) is None  # most models only tell what is nearer


def test_the_same_weights_are_the_same_space_wherever_they_lie(
    directory: Path, tiny: Encoder, tmp_path: Path
) -> None:
    place = shutil.copytree(directory, tmp_path / "copy")
    copy = load_encoder(str(place), "cpu")
    assert copy.space.digest == tiny.space.digest
    assert tiny.space.name == f"local-dir:{directory}"


def test_other_weights_are_another_space(tiny: Encoder, tmp_path: Path) -> None:
    other = load_encoder(save_tiny_model(tmp_path / "other", seed=1), "cpu")
    assert other.space.digest != tiny.space.digest


def test_another_preprocessing_is_another_space(
    directory: Path, tiny: Encoder, tmp_path: Path
) -> None:
    place = shutil.copytree(directory, tmp_path / "other")
    config = json.loads((place / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["mean"] = [0.4, 0.5, 0.5]
    (place / "open_clip_config.json").write_text(json.dumps(config))
    assert load_encoder(str(place), "cpu").space.digest != tiny.space.digest


def test_the_first_numbers_of_a_model_are_a_space_of_their_own(
    tiny: Encoder, directory: Path
) -> None:
    name = f"{tiny.space.name}@6"
    assert canonical_name(f"{directory}@6") == canonical_name(name) == name
    cut = load_encoder(name, "cpu")
    assert cut.space.name == name and cut.space.dim == 6
    others = {tiny.space.digest, load_encoder(f"{directory}@7", "cpu").space.digest}
    assert cut.space.digest not in others
    assert (cut.fit, cut.text_limit) == (tiny.fit, tiny.text_limit)
    pixels = [np.full((32, 32, 3), shade, np.uint8) for shade in (10, 200)]
    pairs = [
        (cut.embed_images(pixels), tiny.embed_images(pixels)),
        (cut.embed_texts(["a", "b c"]), tiny.embed_texts(["a", "b c"])),
    ]
    for rows, whole in pairs:
        first = whole[:, :6]
        expected = first / np.linalg.norm(first, axis=1, keepdims=True)
        np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert cut.embed_images([]).shape == (0, 6)
    assert cut.count_tokens(["a dog"]) == tiny.count_tokens(["a dog"])


@pytest.mark.parametrize("dim", [16, 17])
def test_more_numbers_than_a_model_gives_are_refused(directory: Path, dim: int) -> None:
    with pytest.raises(ModelError, match="have 16 numbers; ask for fewer"):
        load_encoder(f"{directory}@{dim}", "cpu")


def test_a_model_directory_with_a_number_in_its_name_is_that_model(tmp_path: Path) -> None:
    name = save_tiny_model(tmp_path / "model@8")
    assert load_encoder(name, "cpu").space.dim == 16
    cut = load_encoder(f"{name}@4", "cpu")
    assert (cut.space.name, cut.space.dim) == (f"{name}@4", 4)


def test_what_the_first_numbers_keep_is_measured(directory: Path) -> None:
    texts = [f"a text about number {one}" for one in range(40)]
    kept = []
    for dim in (2, 15):
        cut = load_encoder(f"{directory}@{dim}", "cpu")
        assert isinstance(cut, Cut)
        kept.append(same_neighbours(cut, texts))
    assert 0 < kept[0] < kept[1] <= 10
