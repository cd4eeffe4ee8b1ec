"""A tower of an open_clip model as ONNX, for peers that compute with ONNX Runtime."""

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any


def write(model: Any, encode: str, example: Any, place: Path) -> None:
    """Write what `encode_image` or `encode_text` does, `input` to `output`, for any rows."""
    import torch

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = deepcopy(model)  # the export folds normalisation into weights in place

        def forward(self, rows: torch.Tensor) -> Any:
            return getattr(self.model, encode)(rows)

    model.eval().requires_grad_(False)
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no such operator
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, and that there is a newer exporter
            torch.onnx.export(
                Tower(),
                (example,),
                str(place),
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "rows"}, "output": {0: "rows"}},
                dynamo=False,  # the other one wants a package of its own
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
