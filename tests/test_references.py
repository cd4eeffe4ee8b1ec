from pathlib import Path

import numpy as np
import pytest

from searchx import references
from searchx.encoder import load_encoder
from searchx.records import Space
from searchx.references import kept_references, references_of
from searchx.relevance import everyday_captions
from tests.colour import ColourEncoder


def test_those_of_another_model_are_embedded_once_and_kept(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    assert kept_references(tmp_path, encoder.space) is None
    found = references_of(tmp_path, encoder)
    assert found.shape == (len(everyday_captions()), encoder.space.dim)
    kept = kept_references(tmp_path, encoder.space)
    assert kept is not None
    assert np.allclose(kept, found, atol=1e-3)  # as float16
    place = next((tmp_path / "snapshots").iterdir())
    before = place.stat().st_mtime_ns
    assert np.array_equal(references_of(tmp_path, encoder), kept)
    assert place.stat().st_mtime_ns == before


def test_the_next_library_of_a_space_has_them_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHX_CACHE", str(tmp_path / "cache"))
    found = references_of(tmp_path / "one", ColourEncoder())
    dumb = ColourEncoder()
    monkeypatch.delattr(type(dumb), "embed_texts")
    assert np.array_equal(references_of(tmp_path / "other", dumb), found)
    assert kept_references(tmp_path / "other", dumb.space) is not None


@pytest.mark.parametrize("held", [b"", b"noise", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_broken_is_made_anew(tmp_path: Path, held: bytes) -> None:
    encoder = ColourEncoder()
    references_of(tmp_path, encoder)
    place = next((tmp_path / "snapshots").iterdir())
    place.write_bytes(held)
    assert kept_references(tmp_path, encoder.space) is None
    assert len(references_of(tmp_path, encoder)) == len(everyday_captions())
    assert kept_references(tmp_path, encoder.space) is not None


def test_those_of_another_width_are_not_taken(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    references_of(tmp_path, encoder)
    wider = Space(encoder.space.name, encoder.space.digest, encoder.space.dim + 1)
    assert kept_references(tmp_path, wider) is None


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("in the way")
    assert len(references_of(tmp_path, ColourEncoder())) == len(everyday_captions())


def test_those_in_the_package_are_what_the_model_makes_of_the_captions(tmp_path: Path) -> None:
    """Were the model replaced, its digest would differ, and they would be embedded anew."""
    encoder = load_encoder("mini", "cpu", lambda line: None)
    shipped = kept_references(tmp_path, encoder.space)
    assert shipped is not None, "embed the captions again: tests.benchmarks.bench_relevance"
    chosen = np.arange(0, len(shipped), 100)
    texts = everyday_captions()
    made = encoder.embed_texts([texts[one] for one in chosen])
    assert len(shipped) == len(texts)
    assert np.allclose(made, shipped[chosen], atol=2e-3)
    assert list(tmp_path.iterdir()) == []
    assert references.references_of(tmp_path, encoder).shape == shipped.shape
