"""Load an open_clip model so that its image tower takes memory only once a picture is embedded.

The weights stay in their file, mapped into memory, and each tower is brought into its working form
by itself. This is so for safetensors, in which `searchx train` writes and nearly all models come;
of a model in another format both towers are in memory at once, as open_clip loads them.
"""

import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchx.errors import ModelError

if TYPE_CHECKING:
    import torch

_IMAGE: Final = "visual"  # the name of the image tower in every model of open_clip
_DONT_NEED: Final = 4  # MADV_DONTNEED
_PATCHING: Final = threading.Lock()  # torch's one class of modules is changed by one at a time


def load_mapped(load: Callable[[], Any]) -> Any:
    """Give the model that `load` makes, its weights mapped from their file; see `materialise`.

    Where a model cannot be made so, it is what `load` gives.
    """
    try:
        with _PATCHING, _mapped():
            model = load()
    except ModelError:
        raise  # it cannot be had, however it is loaded
    except Exception:  # a model that computes with its weights while it is made, or has none to map
        return load()
    if any(one.is_meta for one in (*model.parameters(), *model.buffers())):
        return load()  # its weights were put in by other ways than a state dict
    return model


def image_tower(model: Any) -> Any:
    """Give the part of a model that embeds pictures."""
    return getattr(model, _IMAGE)


def materialise_texts(model: Any, device: "torch.device") -> None:
    """Bring all but the image tower into memory, on the device, in single precision."""
    visual = image_tower(model)
    delattr(model, _IMAGE)
    try:
        model.float().to(device)
    finally:
        setattr(model, _IMAGE, visual)


def size_of_texts(model: Any) -> int:
    """Count the weights that a text is computed with; of its embeddings it only takes some."""
    import torch

    seen = {id(one) for one in image_tower(model).modules()}
    return sum(
        weights.numel()
        for one in model.modules()
        if id(one) not in seen and not isinstance(one, torch.nn.Embedding)
        for weights in one.parameters(recurse=False)
    )


def size_of_images(model: Any) -> int:
    """Count the weights that a picture is computed with."""
    return sum(weights.numel() for weights in image_tower(model).parameters())


def release(model: Any) -> None:
    """Give the pages of mapped weights back to the system; they are read again when needed.

    Does nothing where weights are not mapped, and elsewhere than on Linux.
    """
    if sys.platform != "linux":
        return
    import ctypes

    advise = ctypes.CDLL(None).madvise
    for first, end in _files_of({one.data_ptr() for one in image_tower(model).parameters()}):
        advise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _DONT_NEED)


def _files_of(addresses: Collection[int]) -> list[tuple[int, int]]:
    """Give where those files lie in memory, from and to, in which some addresses are."""
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        first, end = (int(one, 16) for one in span.split("-"))
        if name and name[0].startswith("/") and any(first <= one < end for one in addresses):
            found.append((first, end))
    return found


@contextmanager
def _mapped() -> Iterator[None]:
    """Let modules that this thread makes have weights without memory, until a state dict has come.

    What a state dict then gives them is taken as it is, mapped and in the precision of the file.
    """
    import torch

    here = threading.get_ident()
    module: Any = torch.nn.Module
    register, move = module.register_parameter, module.to

    def register_without_memory(self: Any, name: str, param: Any) -> None:
        is_new = getattr(self._parameters.get(name), "is_meta", False) is False
        if param is not None and is_new and threading.get_ident() == here:
            if not self._parameters and not self._load_state_dict_pre_hooks:
                self.register_load_state_dict_pre_hook(_take_as_it_is)
            param = torch.nn.Parameter(param.detach().to("meta"), param.requires_grad)
        register(self, name, param)

    def stay(self: Any, *args: Any, **named: Any) -> Any:
        return self if threading.get_ident() == here else move(self, *args, **named)

    module.register_parameter, module.to = register_without_memory, stay
    try:
        yield
    finally:
        module.register_parameter, module.to = register, move


def _take_as_it_is(
    module: Any, state: Any, prefix: str, local_metadata: dict[str, Any], *_: object
) -> None:
    local_metadata["assign_to_params_buffers"] = True
