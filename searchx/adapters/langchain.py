"""LangChain: embeddings, and a retriever. Needs ``pip install "searchx[langchain]"``."""

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever

from searchx.adapters.hits import found, told_of, words_of
from searchx.records import Target

__all__ = ["SearchxEmbeddings", "SearchxRetriever"]


class SearchxEmbeddings(Embeddings):
    """Embeds by the model of a library, which may be on a server."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages, as the indexer does."""
        return self.library.embed(texts=texts, as_items=True).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """Embed a question, as a search does."""
        return self.library.embed(texts=[text])[0].tolist()  # type: ignore[no-any-return]

    def embed_images(self, images: list[Any]) -> list[list[float]]:
        """Embed pictures, each a path, bytes or a PIL image, into the same space."""
        return self.library.embed(images=images).tolist()  # type: ignore[no-any-return]


class SearchxRetriever(BaseRetriever):
    """Finds documents: passages with their text, pictures with their captions.

    `metadata` of a document has the path and all else that is known of the hit.
    """

    library: Any
    k: int = 10
    to: Target = "text"
    where: str = ""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [
            Document(page_content=words_of(hit), metadata=told_of(hit), id=str(hit.id))
            for hit in found(self.library, query, None, self.k, self.to, self.where)
        ]
