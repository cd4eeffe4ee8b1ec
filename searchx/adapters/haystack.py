"""Haystack: a retriever, and two embedders. Needs ``pip install "searchx[haystack]"``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from searchx.adapters.hits import found, told_of, words_of
from searchx.records import Hit, Target
from searchx.search import open_library

__all__ = ["SearchxDocumentEmbedder", "SearchxRetriever", "SearchxTextEmbedder"]


class _OfLibrary:
    """A component of a library: one that is open, or the place of one, opened when it is needed.

    Named where it is initialised: `component` makes a class anew, in which super() is lost.
    """

    def __init__(self, library: Any) -> None:
        self._given = library
        self._library = None if isinstance(library, str | Path) else library

    @property
    def library(self) -> Any:
        """The library, open."""
        self.warm_up()
        return self._library

    def warm_up(self) -> None:
        """Open the library."""
        if self._library is None:
            self._library = open_library(self._given)

    def _place(self) -> str:
        """Give the place of the library, by which a pipeline is written down."""
        return str(getattr(self._given, "directory", self._given))


@component
class SearchxRetriever(_OfLibrary):
    """Finds documents for words, a picture, or both: passages, or pictures with their captions."""

    def __init__(self, library: Any, top_k: int = 10, to: Target = "both", where: str = "") -> None:
        _OfLibrary.__init__(self, library)
        self.top_k, self.to, self.where = top_k, to, where

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str = "",
        image: str | None = None,
        top_k: int | None = None,
        where: str | None = None,
    ) -> dict[str, list[Document]]:
        """Search; `where` is a filter in the query language, `image` the path of a picture."""
        picture = Path(image) if image else None
        filters = self.where if where is None else where
        hits = found(self.library, query, picture, top_k or self.top_k, self.to, filters)
        return {"documents": [_document(hit) for hit in hits]}

    def to_dict(self) -> dict[str, Any]:
        """Write the component down."""
        return default_to_dict(
            self, library=self._place(), top_k=self.top_k, to=self.to, where=self.where
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchxRetriever":
        """Read a component that was written down."""
        return default_from_dict(cls, data)


@component
class SearchxTextEmbedder(_OfLibrary):
    """Embeds a question by the model of a library, as a search does."""

    def __init__(self, library: Any) -> None:
        _OfLibrary.__init__(self, library)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Embed one text."""
        return {"embedding": self.library.embed(texts=[text])[0].tolist()}

    def to_dict(self) -> dict[str, Any]:
        """Write the component down."""
        return default_to_dict(self, library=self._place())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchxTextEmbedder":
        """Read a component that was written down."""
        return default_from_dict(cls, data)


@component
class SearchxDocumentEmbedder(_OfLibrary):
    """Embeds documents: the picture in `blob` or at `file_path`, else the text."""

    def __init__(self, library: Any) -> None:
        _OfLibrary.__init__(self, library)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Give the documents with their embeddings, in their order."""
        pictures = [_picture(one) for one in documents]
        shown = [one for one in pictures if one is not None]
        told = [
            one.content or ""
            for one, picture in zip(documents, pictures, strict=True)
            if picture is None
        ]
        images = iter(self.library.embed(images=shown).tolist() if shown else ())
        texts = iter(self.library.embed(texts=told, as_items=True).tolist() if told else ())
        made = [
            replace(one, embedding=next(texts if picture is None else images))
            for one, picture in zip(documents, pictures, strict=True)
        ]
        return {"documents": made}

    def to_dict(self) -> dict[str, Any]:
        """Write the component down."""
        return default_to_dict(self, library=self._place())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchxDocumentEmbedder":
        """Read a component that was written down."""
        return default_from_dict(cls, data)


def _picture(document: Document) -> Any:
    if document.blob is not None and (document.blob.mime_type or "image/").startswith("image/"):
        return document.blob.data
    return None if document.content else document.meta.get("file_path")


def _document(hit: Hit) -> Document:
    told = told_of(hit)
    if hit.item.kind == "image":
        told["file_path"] = hit.path
    return Document(id=str(hit.id), content=words_of(hit) or None, meta=told, score=hit.score)
