"""LangChain itself, on a library of colours."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from searchx.adapters.langchain import SearchxEmbeddings, SearchxRetriever
from searchx.errors import BadInput
from searchx.search import Library


def test_documents_are_found_and_tell_where_they_are(library: Library, photos: Path) -> None:
    retriever = SearchxRetriever(library=library, k=2)
    found = retriever.invoke("red")
    assert found[0].page_content == "something red" and len(found) == 2
    told = found[0].metadata
    assert (told["kind"], told["path"]) == ("text", str(photos / "red.png.txt"))
    assert found[0].id == str(told["id"])
    pictures = SearchxRetriever(library=library, k=1, to="image", where="name:blue")
    (picture,) = pictures.invoke("red")
    assert picture.metadata["path"] == str(photos / "blue.png")
    assert asyncio.run(pictures.ainvoke("red")) == [picture]


def test_it_stands_in_a_chain(library: Library, photos: Path) -> None:
    def told(found: list[Document]) -> list[str]:
        return [one.page_content for one in found]

    chain = SearchxRetriever(library=library, k=1) | RunnableLambda(told)
    assert chain.batch(["blue", "pink"]) == [["something blue"], ["something pink"]]


@pytest.mark.parametrize("question", ["red: or not?", "-red", 'what is "red', "year:red", "(red"])
def test_whatever_is_asked_is_words(library: Library, photos: Path, question: str) -> None:
    (found,) = SearchxRetriever(library=library, k=1).invoke(question)
    assert found.page_content == "something red"


def test_nothing_asked_is_told(library: Library, photos: Path) -> None:
    with pytest.raises(BadInput, match="nothing to look for"):
        SearchxRetriever(library=library).invoke(" ")


def test_embeddings_fill_a_store_of_langchain(library: Library, photos: Path) -> None:
    embeddings = SearchxEmbeddings(library)
    texts = ["something red", "something blue"]
    assert np.allclose(embeddings.embed_documents(texts), library.embed(texts=texts, as_items=True))
    assert np.allclose(embeddings.embed_query("red"), library.embed(texts=["red"])[0])
    shown = embeddings.embed_images([str(photos / "red.png")])
    assert np.allclose(shown, library.embed(images=[photos / "red.png"]))
    store = InMemoryVectorStore(embeddings)
    store.add_documents([Document(page_content=one) for one in texts])
    assert store.similarity_search("blue", k=1)[0].page_content == "something blue"
