"""PyTorch itself: the loader reads items in its own process, in forked and in spawned ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from searchx.adapters.torch import ItemDataset
from searchx.errors import BadInput
from searchx.search import Library
from tests.colour import COLOURS


def mean_colour(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture, np.float32).mean(axis=(0, 1)))


def test_rows_are_the_items(library: Library, photos: Path) -> None:
    items = ItemDataset(library)
    assert len(items) == len(COLOURS)
    picture, vector, id = items[0]
    assert isinstance(picture, Image.Image) and picture.size == (64, 48)
    assert np.array_equal(vector.numpy(), library.vectors([id])[0])
    texts = ItemDataset(library.directory, "text", where="name:red")
    assert len(texts) == 1 and texts[0][0] == "something red"
    assert ItemDataset(library, contents=False)[1][0] is None
    assert len(ItemDataset(library, where="name:grey")) == 0


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_loader_reads_them(library: Library, photos: Path, context: str | None) -> None:
    """Of a library that the process has open already: a fork takes over what is open."""
    items = ItemDataset(library, transform=mean_colour)
    assert items[0][2] == items.ids[0]
    workers = {None: 0, "fork": 2, "spawn": 1}[context]
    loader = DataLoader(items, 3, num_workers=workers, multiprocessing_context=context)
    seen: dict[int, list[float]] = {}
    for colours, vectors, ids in loader:
        assert vectors.shape == (len(ids), 4)
        seen |= dict(zip(ids.tolist(), colours.tolist(), strict=True))
        assert np.array_equal(vectors.numpy(), library.vectors(ids.numpy()))
    names = [Path(one.path).stem for one in library.items(items.ids)]
    wanted = dict(zip(items.ids.tolist(), names, strict=True))
    assert {one: COLOURS[name] for one, name in wanted.items()} == {
        one: tuple(colour) for one, colour in seen.items()
    }


def test_what_has_no_file_is_told(library: Library) -> None:
    library.add(["a"], np.eye(1, 4, dtype=np.float32))
    with pytest.raises(BadInput, match="was added without a file; say contents=False"):
        ItemDataset(library)[0]
    assert ItemDataset(library, contents=False)[0][1].tolist() == [1, 0, 0, 0]
