"""Make an image tower compute in 8 bits: run as a process of its own, which NNCF fills.

    python -m searchx.runtime.quantizing TOWER PIXELS TO

TOWER is one that was prepared, PIXELS a .npy of pictures as it takes them, (n, height, width, 3),
and TO the .xml that is written. Tells how it went on stdout, a JSON document.
"""

import json
import os
import sys
from typing import Any, Final

import numpy as np

from searchx.runtime.openvino import imported

_TELEMETRY: Final = "openvino_telemetry"


def main(tower: str, pixels: str, to: str) -> None:
    """Make it, and tell how it went; what the libraries print goes nowhere."""
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    try:
        quantize(tower, pixels, to)
        document = {"done": to}
    except Exception as error:  # NNCF and OpenVINO raise a dozen types
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        document = {"reason": line[:200]}
    with told:
        told.write(json.dumps(document) + "\n")


def quantize(tower: str, pixels: str, to: str) -> None:
    """Write the tower with its products in 8 bits.

    Convolutions of single channels stay as they are: they take little of the time, and in 8 bits
    they make most of the difference.
    """
    openvino = imported()
    nncf = _nncf()
    seen = np.load(pixels, mmap_mode="r")  # (n, height, width, 3)
    model = openvino.Core().read_model(tower)
    single = [one for one in model.get_ops() if one.get_type_name() == "GroupConvolution"]
    made = nncf.quantize(
        model,
        nncf.Dataset([one[None] for one in seen]),
        subset_size=len(seen),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=[one.get_friendly_name() for one in single]),
    )
    openvino.save_model(made, to, compress_to_fp16=False)


def _nncf() -> Any:
    """Give NNCF, which tells its makers of every use where it can; here it cannot."""
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    import nncf

    return nncf


if __name__ == "__main__":
    main(*sys.argv[1:])
