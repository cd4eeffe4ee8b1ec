"""LlamaIndex: an embedding, and a retriever. Needs ``pip install "searchx[llamaindex]"``."""

import asyncio
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, QueryType, TextNode

from searchx.adapters.hits import found, told_of, words_of
from searchx.records import Hit, Target

__all__ = ["SearchxEmbedding", "SearchxRetriever"]


class SearchxEmbedding(MultiModalEmbedding):
    """Embeds texts and pictures by the model of a library, which may be on a server."""

    library: Any

    def __init__(self, library: Any, **settings: Any) -> None:
        told = {"library": library, "model_name": library.space.name}
        super().__init__(**told | settings)

    @classmethod
    def class_name(cls) -> str:
        """Give the name that LlamaIndex tells it by."""
        return "SearchxEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.library.embed(texts=[query])[0].tolist()  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.library.embed(texts=texts, as_items=True).tolist()  # type: ignore[no-any-return]

    def _get_image_embedding(self, img_file_path: str | BytesIO) -> list[float]:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_image_embedding(self, img_file_path: str | BytesIO) -> list[float]:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    def _get_image_embeddings(self, img_file_paths: Sequence[str | BytesIO]) -> list[list[float]]:
        images = [one.getvalue() if isinstance(one, BytesIO) else one for one in img_file_paths]
        return self.library.embed(images=images).tolist()  # type: ignore[no-any-return]


class SearchxRetriever(MultiModalRetriever):
    """Finds nodes: passages, or pictures with their captions. Asked with words or a picture."""

    def __init__(self, library: Any, k: int = 10, to: Target = "both", where: str = "") -> None:
        self._library, self._k, self._to, self._where = library, k, to, where
        super().__init__()

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Find passages for words."""
        return self._found(_asked(str_or_query_bundle), "text")

    def text_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Find pictures for words."""
        return self._found(_asked(str_or_query_bundle), "image")

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Find pictures for a picture: its path, or a query that names one."""
        return self._found(_shown(str_or_query_bundle), "image")

    async def atext_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Find passages for words."""
        return await asyncio.to_thread(self.text_retrieve, str_or_query_bundle)

    async def atext_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Find pictures for words."""
        return await asyncio.to_thread(self.text_to_image_retrieve, str_or_query_bundle)

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Find pictures for a picture."""
        return await asyncio.to_thread(self.image_to_image_retrieve, str_or_query_bundle)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._found(query_bundle, self._to)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self.text_to_image_retrieve(query_bundle)

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self.image_to_image_retrieve(query_bundle)

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self.atext_to_image_retrieve(query_bundle)

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self.aimage_to_image_retrieve(query_bundle)

    def _found(self, asked: QueryBundle, to: Target) -> list[NodeWithScore]:
        image = Path(asked.image_path) if asked.image_path else None
        hits = found(self._library, asked.query_str, image, self._k, to, self._where)
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]


def _asked(query: QueryType) -> QueryBundle:
    return QueryBundle(query) if isinstance(query, str) else query


def _shown(query: QueryType) -> QueryBundle:
    return QueryBundle("", image_path=query) if isinstance(query, str) else query


def _node(hit: Hit) -> TextNode:
    told = {"id_": str(hit.id), "text": words_of(hit), "metadata": told_of(hit)}
    return ImageNode(image_path=hit.path, **told) if hit.item.kind == "image" else TextNode(**told)
