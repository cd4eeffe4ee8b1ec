"""scikit-learn itself: what its own checks ask of an estimator, and a Pipeline."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from searchx.adapters.sklearn import SearchxVectorizer
from searchx.errors import BadInput
from tests.colour import COLOURS
from tests.shelf import ENCODER


def test_it_is_an_estimator() -> None:
    """Those checks that do not feed it tables of numbers, which it cannot take."""
    name, made = "SearchxVectorizer", SearchxVectorizer()
    check_parameters_default_constructible(name, made)
    check_no_attributes_set_in_init(name, made)
    check_get_params_invariance(name, made)
    check_set_params(name, made)
    assert clone(SearchxVectorizer(kind="image")).kind == "image"


def test_texts_go_through_a_pipeline() -> None:
    texts = [f"{how} {one}" for one in ("red", "blue") for how in ("a", "the", "some")]
    pipeline = make_pipeline(SearchxVectorizer(ENCODER), LogisticRegression())
    pipeline.fit(texts, [0, 0, 0, 1, 1, 1])
    assert pipeline.predict(["red thing", "blue thing"]).tolist() == [0, 1]
    again = pickle.loads(pickle.dumps(pipeline))
    assert again.predict(["red thing"]).tolist() == [0]


def test_rows_are_those_of_the_model_whatever_holds_them(photos: Path) -> None:
    import pandas as pd

    texts = list(COLOURS)
    wanted = ENCODER.embed_texts(texts)
    made = SearchxVectorizer(ENCODER).fit(texts)
    column = np.array(texts, object)
    for given in (texts, column, column[:, None], pd.Series(texts), pd.DataFrame({"text": texts})):
        assert np.array_equal(made.transform(given), wanted)
    assert made.get_feature_names_out().tolist() == [f"searchx{one}" for one in range(4)]
    pictures = SearchxVectorizer(ENCODER, kind="image").fit_transform([photos / "red.png"])
    assert np.allclose(pictures, ENCODER.embed_texts(["red"]), atol=1e-3)
    frame = SearchxVectorizer(ENCODER).set_output(transform="pandas").fit_transform(texts)
    assert list(frame.columns) == made.get_feature_names_out().tolist()


def test_what_it_cannot_take_is_told() -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        SearchxVectorizer(ENCODER).transform(["red"])
    made = SearchxVectorizer(ENCODER).fit(["red"])
    with pytest.raises(BadInput, match=r"X has the shape \(2, 2\)"):
        made.transform(np.array([["a", "b"], ["c", "d"]]))
    with pytest.raises(BadInput, match="in a list, not one"):
        made.transform("red")
    with pytest.raises(BadInput, match='kind "audio" is not known'):
        SearchxVectorizer(ENCODER, kind="audio").fit(["red"])


def test_a_model_by_name_is_loaded_when_it_is_needed(tiny_model: Path) -> None:
    made = SearchxVectorizer(f"local-dir:{tiny_model}").fit(["red"])
    rows = made.transform(["red", "blue"])
    assert rows.shape == (2, made.n_features_out_)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    again = pickle.loads(pickle.dumps(made))
    assert not hasattr(again, "_loaded")  # weights stay out of the pickle
    assert np.allclose(again.transform(["red", "blue"]), rows, atol=1e-3)
