"""LlamaIndex itself, on a library of colours."""

import asyncio
from io import BytesIO
from pathlib import Path

import numpy as np
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import ImageNode, QueryBundle, TextNode

from searchx.adapters.llamaindex import SearchxEmbedding, SearchxRetriever
from searchx.search import Library


def test_nodes_of_both_kinds_are_found(library: Library, photos: Path) -> None:
    retriever = SearchxRetriever(library, k=2)
    found = retriever.retrieve("red")
    assert {type(one.node) for one in found} == {ImageNode, TextNode}
    (text,) = SearchxRetriever(library, k=1).text_retrieve("red")
    assert text.node.get_content() == "something red"
    assert text.score is not None and text.score > 0.9
    (picture,) = SearchxRetriever(library, k=1).text_to_image_retrieve("red")
    assert isinstance(picture.node, ImageNode)
    assert picture.node.image_path == str(photos / "red.png") == picture.node.metadata["path"]
    assert picture.node.resolve_image() == str(photos / "red.png")


def test_a_picture_is_asked_with(library: Library, photos: Path) -> None:
    retriever = SearchxRetriever(library, k=1, where="-name:blue")
    (first,) = retriever.image_to_image_retrieve(str(photos / "red.png"))
    assert first.node.metadata["path"] == str(photos / "red.png")
    both = QueryBundle("red", image_path=str(photos / "red.png"))
    assert retriever.retrieve(both)[0].node.metadata["path"].startswith(str(photos / "red.png"))
    later = asyncio.run(retriever.aimage_to_image_retrieve(str(photos / "red.png")))
    assert later == [first]
    assert len(asyncio.run(retriever.aretrieve("red"))) == 1
    assert len(asyncio.run(retriever.atext_retrieve("red"))) == 1
    assert len(asyncio.run(retriever.atext_to_image_retrieve("red"))) == 1


def test_it_stands_in_what_llamaindex_builds(library: Library, photos: Path) -> None:
    each: list[BaseRetriever] = [
        SearchxRetriever(library, k=1, to="text"),
        SearchxRetriever(library, k=1, to="image"),
    ]
    fused = QueryFusionRetriever(
        each, llm=MockLLM(), num_queries=1, similarity_top_k=2, use_async=False
    )
    found = fused.retrieve("blue")
    assert [one.node.metadata["kind"] for one in found] == ["text", "image"]


def test_texts_and_pictures_are_embedded_in_one_space(library: Library, photos: Path) -> None:
    embedding = SearchxEmbedding(library)
    assert embedding.model_name == "colour"
    assert np.allclose(embedding.get_query_embedding("red"), library.embed(texts=["red"])[0])
    texts = ["something red", "blue"]
    wanted = library.embed(texts=texts, as_items=True)
    assert np.allclose(embedding.get_text_embedding_batch(texts), wanted)
    shown = library.embed(images=[photos / "red.png"])[0]
    assert np.allclose(embedding.get_image_embedding(str(photos / "red.png")), shown)
    data = BytesIO((photos / "red.png").read_bytes())
    assert np.allclose(asyncio.run(embedding.aget_image_embedding(data)), shown)
    assert np.allclose(asyncio.run(embedding.aget_query_embedding("red")), library.embed(["red"]))
