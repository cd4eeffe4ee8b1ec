"""Methods that train few parameters of a model, and how the model is whole again afterwards.

`lora` adds a product of two thin matrices to each matrix of a linear layer (Hu et al. 2021,
arXiv:2106.09685), `bitfit` trains biases alone (Ben Zaken et al. 2021, arXiv:2106.10199), and
`prompt` learns tokens that stand before each text (Zhou et al. 2022, arXiv:2109.01134).

What is added is a parametrization of PyTorch's: whoever reads a weight gets the sum, also
`nn.MultiheadAttention`, which hands its matrices to a function and never calls the layer that holds
one of them, so that wrapped layers (as those of peft are) would not be asked.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from searchx.errors import BadInput
from searchx.training.settings import Settings

_MATRICES: Final = ("weight", "in_proj_weight")
_WORDS: Final = "a picture of something that is"  # what learned tokens are at first


def adapt(model: Any, tokenizer: Any, settings: Settings) -> Any:
    """Leave only those parameters to be trained that the method trains; gives the tokenizer.

    Called with what `--unlock-image` keeps fixed already fixed, which stays so. Raises BadInput for
    a model that the method has nothing to train in.
    """
    match settings.method:
        case "lora":
            _add_matrices(model, settings.rank)
        case "bitfit":
            _keep_biases(model)
        case "prompt":
            model.requires_grad_(False)
            tokenizer = _prompted(model, tokenizer, settings.prompt)
    model.logit_scale.requires_grad_(True)
    return tokenizer


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Give the state of a model as if nothing had been added: sums under their plain names."""
    state = {
        name: value
        for name, value in model.state_dict().items()
        if "parametrizations" not in name.split(".")
    }
    with torch.no_grad():
        for name, part in model.named_modules():
            for held in _MATRICES if parametrize.is_parametrized(part) else ():
                if parametrize.is_parametrized(part, held):
                    state[f"{name}.{held}".lstrip(".")] = getattr(part, held)
    return state


class _Product(nn.Module):
    """Adds a product of two thin matrices, which is 0 at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rank = min(rank, *weight.shape)
        self.down = nn.Parameter(torch.empty(rank, weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.up, self.down)


class _Appended(nn.Module):
    """Adds rows to a table of tokens."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, table: Tensor) -> Tensor:
        return torch.cat([table, self.rows])


def _add_matrices(model: nn.Module, rank: int) -> None:
    found = [one for one in _matrices(model) if getattr(*one).requires_grad]
    model.requires_grad_(False)
    for part, name in found:
        weight = getattr(part, name)
        product = _Product(weight, rank).to(weight.device)
        parametrize.register_parametrization(part, name, product)
    if not found:
        raise BadInput("the model has no linear layer that lora could add to; use --method full")


def _matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Find the matrices of linear layers, with those that attention holds by itself."""
    for part in model.modules():
        if isinstance(part, nn.Linear):
            yield part, "weight"
        if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            yield part, "in_proj_weight"


def _keep_biases(model: nn.Module) -> None:
    found = 0
    for name, one in model.named_parameters():
        is_bias = name.rpartition(".")[2].endswith("bias")  # in_proj_bias as well
        one.requires_grad_(one.requires_grad and is_bias)
        found += is_bias
    if not found:
        raise BadInput("the model has no biases that bitfit could train; use --method lora")


def _prompted(model: Any, tokenizer: Any, count: int) -> Any:
    """Put learned tokens before each text: in the table of tokens, and by the tokenizer."""
    if not hasattr(tokenizer, "tokenizer") or not hasattr(model, "text"):
        raise BadInput(
            "prompt trains tokens of a Hugging Face tokenizer, which this model has not; use "
            "--method lora"
        )
    places = _place_tokens(tokenizer, count)
    table = model.text.transformer.get_input_embeddings()
    if places != list(range(table.num_embeddings, table.num_embeddings + count)):
        raise BadInput("the model has more tokens than its tokenizer knows; use --method lora")
    said = tokenizer.tokenizer(_WORDS, add_special_tokens=False)["input_ids"]
    rows = table.weight.detach()[[said[place % len(said)] for place in range(count)]].clone()
    parametrize.register_parametrization(table, "weight", _Appended(rows), unsafe=True)
    table.num_embeddings += count
    model.text.config.vocab_size += count
    return tokenizer


def _place_tokens(tokenizer: Any, count: int) -> list[int]:
    """Let a tokenizer put new tokens behind the one that begins a text; gives their ids.

    It becomes one that is read from its file as it stands: those of single models make up anew
    what stands around a text.
    """
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    before = tokenizer.tokenizer
    backend = before.backend_tokenizer
    first, last = _around(before)
    names = [f"[learned {place}]" for place in range(count)]
    before.add_tokens(names, special_tokens=True)
    ids = [int(before.convert_tokens_to_ids(name)) for name in names]
    begun = [first, *names] if first else names
    ended = [last] if last else []
    special = [one for one in (first, last) if one]
    known = [(one, before.convert_tokens_to_ids(one)) for one in special]
    backend.post_processor = TemplateProcessing(
        single=[*begun, "$A", *ended],
        pair=[*begun, "$A", *ended, "$B", *ended],
        special_tokens=[*known, *zip(names, ids, strict=True)],
    )
    made: Any = PreTrainedTokenizerFast
    named = {name: one for name, one in before.special_tokens_map.items() if isinstance(one, str)}
    tokenizer.tokenizer = made(
        tokenizer_object=backend, model_max_length=before.model_max_length, **named
    )
    return ids


def _around(tokenizer: Any) -> tuple[str | None, str | None]:
    """Tell the tokens that stand before and after a text."""
    ids = tokenizer("a")["input_ids"]
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = (len(ids) - len(bare)) if ids[-1] == bare[-1] else ids.index(bare[0])
    after = len(ids) - len(bare) - before
    if before > 1 or after > 1:
        raise BadInput(
            "the tokenizer puts several tokens around a text, perhaps learned ones already; use "
            "--method lora, or start from another model"
        )
    first, last = tokenizer.convert_ids_to_tokens([ids[0], ids[-1]])
    return first if before else None, last if after else None
