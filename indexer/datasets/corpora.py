"""Stream the rows of a corpus file, with bounded memory whatever its size.

``.jsonl``, ``.csv``, ``.tsv``, ``.parquet`` and webdataset ``.tar``. Columns are those that the
user names; otherwise they are found by name, without regard to case, blanks and hyphens:

- texts, all that are there, in this order: caption, captions, text, texts, txt, sentence,
  sentences, alt, alt_text, description, descriptions, title, prompt, content, body. A value is a
  text or a list of texts; each distinct text of a row is given once.
- the picture, the first of these that gives one: image, img, picture, photo, jpg, jpeg, png, webp,
  image_path, image_file, image_name, img_path, file_name, filename, file, path. A value is the
  path of a picture file, absolute or below the folder of the corpus; in parquet also bytes, or
  {bytes, path} as Hugging Face `datasets` writes it. An address on the web is none.
- keywords: keywords, keyword, tags, tag, labels. A value is a list, or a text with commas,
  semicolons or bars between them.

In a tar, the files of one name are a sample: a picture, ``.json`` with the names above as keys,
and ``.txt``, ``.text`` or ``.caption`` with a text.
"""

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TypeAlias

from indexer.datasets.rows import Columns, NoSuchColumn, Row, Shapes
from indexer.datasets.shards import parquet_rows, tar_names, tar_rows
from indexer.datasets.tables import csv_rows, jsonl_names, jsonl_rows, tsv_rows
from indexer.refusals import Refused
from searchx.contents import open_regular

__all__ = ["Columns", "Row", "lacking", "rows"]

Reader: TypeAlias = Callable[[BinaryIO, str, Columns, Callable[[str], None]], Iterator[Row]]

_READERS: Final[dict[str, Reader]] = {
    ".jsonl": jsonl_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".parquet": parquet_rows,
    ".tar": tar_rows,
}
_NAMES: Final[dict[str, Callable[[BinaryIO], Iterator[tuple[str, ...]]]]] = {
    ".jsonl": jsonl_names,  # rows may each have columns of their own
    ".tar": tar_names,
}


def lacking(path: str, columns: Columns) -> str:
    """Say which of the columns that the user named a corpus has not; empty where it has all.

    Reads on until each was seen: one row in most files, all of them where a name is wrong. Of
    what cannot be read nothing is said: ``rows`` tells why.
    """
    suffix = os.path.splitext(path)[1].lower()
    try:
        with open_regular(path) as file:
            if suffix in _NAMES:
                # In a tar the picture is a file of its own, in no column.
                _look_for(Columns(columns.text) if suffix == ".tar" else columns, suffix, file)
            else:
                next(_READERS[suffix](file, "", columns, lambda _: None), None)
    except NoSuchColumn as refusal:
        return str(refusal)
    except (Refused, OSError):
        return ""
    return ""


def _look_for(columns: Columns, suffix: str, file: BinaryIO) -> None:
    """Look through a corpus until each column was seen; raises NoSuchColumn for one never seen."""
    shapes = Shapes(columns)
    for names in _NAMES[suffix](file):
        shapes.choose(names)
        if shapes.is_complete:
            return
    shapes.finish()


def rows(path: str, columns: Columns, wrong: Callable[[str], None]) -> Iterator[Row]:
    """Give the rows of a corpus in their order; ``wrong`` is told of every row left out.

    Raises Refused, in one line, when the file as a whole cannot be used: at the start where that
    can be seen there, at the end when no row could be used or when a column that the user named
    turned up in none. Raises OSError when the file cannot be read now.
    """
    first = ""
    is_empty = True

    def told(line: str) -> None:
        nonlocal first
        first = first or line
        wrong(line)

    read = _READERS[os.path.splitext(path)[1].lower()]
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise Refused("the file is empty")
        for row in read(file, os.path.dirname(path), columns, told):
            is_empty = False
            yield row
    if is_empty:
        raise Refused(f"no row of it can be used: {first}" if first else "there is no row in it")
