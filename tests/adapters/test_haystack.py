"""Haystack itself, on a library of colours."""

from pathlib import Path

import numpy as np
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore

import searchx
from searchx.adapters.haystack import (
    SearchxDocumentEmbedder,
    SearchxRetriever,
    SearchxTextEmbedder,
)
from searchx.search import Library


def test_documents_are_found_in_a_pipeline(library: Library, photos: Path) -> None:
    pipeline = Pipeline()
    pipeline.add_component("searchx", SearchxRetriever(library, top_k=2))
    found = pipeline.run({"searchx": {"query": "red"}})["searchx"]["documents"]
    assert {one.meta["kind"] for one in found} == {"image", "text"}
    assert any(one.content == "something red" for one in found)
    asked = {"query": "", "image": str(photos / "blue.png"), "top_k": 1, "where": "kind:image"}
    (picture,) = pipeline.run({"searchx": asked})["searchx"]["documents"]
    assert picture.meta["file_path"] == str(photos / "blue.png")
    assert picture.score is not None and picture.score > 0.99


def test_a_pipeline_is_written_down_and_read_again(library: Library, photos: Path) -> None:
    pipeline = Pipeline()
    pipeline.add_component("find", SearchxRetriever(library, 3, "text", "-name:red"))
    pipeline.add_component("embed", SearchxTextEmbedder(library))
    pipeline.add_component("documents", SearchxDocumentEmbedder(library))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["searchx.adapters.haystack"])
    find = again.get_component("find")
    assert isinstance(find, SearchxRetriever)
    assert (find.top_k, find.to, find.where) == (3, "text", "-name:red")
    find.warm_up()
    assert isinstance(find.library, searchx.Library)
    assert find.library.directory == library.directory
    find.library.close()


def test_documents_and_questions_meet_in_a_store_of_haystack(
    library: Library, photos: Path
) -> None:
    documents = [
        Document(content="something red"),
        Document(meta={"file_path": str(photos / "blue.png")}),
        Document(blob=ByteStream((photos / "pink.png").read_bytes(), mime_type="image/png")),
    ]
    made = SearchxDocumentEmbedder(library).run(documents)["documents"]
    assert [one.embedding is None for one in documents] == [True] * 3  # as they were
    assert np.allclose(made[0].embedding or [], library.embed(["something red"], as_items=True)[0])
    assert np.allclose(made[1].embedding or [], library.embed(images=[photos / "blue.png"])[0])
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(made)
    pipeline = Pipeline()
    pipeline.add_component("embed", SearchxTextEmbedder(library))
    pipeline.add_component("find", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embed.embedding", "find.query_embedding")
    for colour, wanted in (("blue", 1), ("pink", 2), ("red", 0)):
        (found,) = pipeline.run({"embed": {"text": colour}})["find"]["documents"]
        assert found.id == made[wanted].id
