"""PyTorch: the items of a library as a Dataset, also for the workers of a DataLoader."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from searchx.contents import open_content
from searchx.errors import BadInput
from searchx.pictures.images import open_image
from searchx.records import Item, Kind
from searchx.search import Library, open_library

__all__ = ["ItemDataset"]

Row: TypeAlias = tuple[Any, torch.Tensor, int]  # a picture or a text, its vector (dim,), its id


class ItemDataset(Dataset[Row]):
    """The items of a kind that pass a filter: picture or text, vector, id.

    Which they are is as of the moment of the call. A picture is an upright PIL image, or what
    `transform` makes of it; with `contents=False` it is not read, and None. Each process opens the
    library for itself, so that workers may be forked or spawned.
    """

    def __init__(
        self,
        library: Library | Path | str,
        kind: Kind = "image",
        where: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        contents: bool = True,
    ) -> None:
        self.directory = str(library.directory if isinstance(library, Library) else library)
        self.transform = transform
        self.contents = contents
        self._opened: list[tuple[int, Library]] = []  # by the process; those of others stay closed
        blocks = [block.ids for block in self._library.blocks(kind, where=where)]
        self.ids = np.concatenate(blocks) if blocks else np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> Row:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Row]:
        """Give several rows, read together: what a DataLoader asks for."""
        ids = self.ids[np.asarray(places, np.int64)]
        vectors = torch.from_numpy(self._library.vectors(ids))
        items = self._library.items(ids)
        contents = [self._content(one) if self.contents else None for one in items]
        return list(zip(contents, vectors, ids.tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": []}

    @property
    def _library(self) -> Library:
        """Give the library as this process has it; a connection must not go through a fork."""
        mine = [library for process, library in self._opened if process == os.getpid()]
        if not mine:
            mine.append(open_library(self.directory))
            self._opened.append((os.getpid(), mine[0]))
        return mine[0]

    def _content(self, item: Item) -> Any:
        content = item.text if item.kind == "text" else _picture(item)
        return content if self.transform is None else self.transform(content)


def _picture(item: Item) -> Image.Image:
    places = [one for one in item.locations if one.external is None]
    if not places:
        raise BadInput(f"item {item.id} was added without a file; say contents=False")
    return open_image(open_content(places[0]))
