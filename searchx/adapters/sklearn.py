"""scikit-learn: texts or pictures to vectors, in a Pipeline. ``pip install "searchx[sklearn]"``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from searchx.embedding import embed_images, embed_texts
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import DEFAULT_MODEL
from searchx.errors import BadInput

__all__ = ["SearchxVectorizer"]


class SearchxVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns texts or pictures into unit vectors (n, dim) of a model.

    `X` is one-dimensional: texts, or pictures (paths, bytes, PIL images), or one column of them.
    `model` is a name that `searchx models` lists, or an encoder; by a name it is loaded once for
    each process, also after a pickle was read or joblib has sent it to workers.
    """

    def __init__(
        self, model: str | Encoder = DEFAULT_MODEL, kind: str = "text", device: str = "auto"
    ) -> None:
        self.model = model
        self.kind = kind
        self.device = device

    def fit(self, X: Any, y: object = None) -> "SearchxVectorizer":  # noqa: N803
        """Load the model; nothing is learned from `X`."""
        if self.kind not in ("text", "image"):
            raise BadInput(f'kind "{self.kind}" is not known; use text or image')
        _listed(X)
        self.n_features_out_ = self._encoder().space.dim
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Give a unit row for each of `X`."""
        check_is_fitted(self)
        listed = _listed(X)
        encoder = self._encoder()
        if self.kind == "image":
            return embed_images(encoder, listed)
        return embed_texts(encoder, listed, as_items=True)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the columns of what `transform` gives."""
        check_is_fitted(self)
        return np.array([f"searchx{one}" for one in range(self.n_features_out_)], object)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = self.kind == "text"
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _encoder(self) -> Encoder:
        if not isinstance(self.model, str):
            return self.model
        if getattr(self, "_loaded", None) is None:
            self._loaded = load_encoder(self.model, self.device)
        return self._loaded


def _listed(values: Any) -> list[Any]:
    """Give what is one-dimensional, or one column, as a list; raises BadInput for other forms."""
    if isinstance(values, str | bytes):
        raise BadInput("give several texts or pictures in a list, not one")
    if hasattr(values, "to_numpy"):  # a column, or a table of one
        values = values.to_numpy()
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1:
        values = values[:, 0]
    elif shape is not None and len(shape) != 1:
        raise BadInput(f"X has the shape {shape}; give (n,) texts or pictures, or one column")
    return list(values)
