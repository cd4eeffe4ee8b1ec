"""The library that vectors go into: the one that is there, or a new one of their space."""

from pathlib import Path

from searchx.adding.spaces import found, is_given
from searchx.encoder import load_encoder
from searchx.encoder.names import canonical_name, is_of_ours
from searchx.errors import BadInput, NoLibrary, SpaceMismatch
from searchx.exchange.offers import Offer
from searchx.records import Space
from searchx.search import Library, create_library, open_library


def library_for(
    directory: Path, offer: Offer, model: str | None = None, name: str | None = None
) -> Library:
    """Open the library that an offer may go into, or make one for it.

    Vectors of two models must not meet in a library. So who imports into one that is there says of
    which model (or by which name) the vectors are, where their file does not. A new one is of the
    model, of vectors by that name, else of the space that the file tells: where that is no model
    of a known maker, the caller has to say it, for a text query loads it. Raises BadInput,
    SpaceMismatch, ModelError.
    """
    if model is not None and name is not None:
        raise BadInput("give either --model or --name, not both")
    try:
        library = open_library(directory)
    except NoLibrary:
        return _made(directory, offer, model, name)
    try:
        space = library.space
        if model or name or (offer.space is None and offer.dim is not None):
            _check_said(space, model, name)
    except BaseException:
        library.close()
        raise
    return library


def _made(directory: Path, offer: Offer, model: str | None, name: str | None) -> Library:
    if offer.dim is None:  # pictures, which are embedded here
        return create_library(directory, model=model, exist_ok=True)
    if model is not None:
        encoder = load_encoder(model)
        _check_fits(offer, encoder.space)
        return create_library(directory, encoder=encoder, exist_ok=True)
    if name is not None:
        return create_library(directory, dim=offer.dim, name=name, exist_ok=True)
    if offer.space is None:
        raise BadInput(
            "nothing tells which model made these vectors: say --model NAME, so that texts can be "
            "asked for, or --name NAME where searchx has no such model"
        )
    if not (is_given(offer.space) or is_of_ours(offer.space.name)):
        raise BadInput(
            f'the file says that its vectors are of "{offer.space.name}", which searchx loads only '
            "where you say so: give --model NAME, or --name NAME to do without texts"
        )
    return Library(found(directory, offer.space, exist_ok=True))


def _check_fits(offer: Offer, space: Space) -> None:
    if offer.dim != space.dim:
        raise BadInput(
            f'these vectors have {offer.dim} numbers, those of "{space.name}" have {space.dim}'
        )
    if offer.space is not None and offer.space.digest != space.digest:
        raise SpaceMismatch(
            f'these vectors are of "{offer.space.name}" (weights {offer.space.digest[:8]}), not of '
            f'"{space.name}" ({space.digest[:8]})'
        )


def _check_said(space: Space, model: str | None, name: str | None) -> None:
    said = name if model is None else canonical_name(model)
    option = "--name" if is_given(space) else "--model"
    if said is None:
        raise BadInput(
            f"nothing tells which model made these vectors; if it was that of the library, "
            f'say {option} "{space.name}"'
        )
    if said != space.name:
        raise SpaceMismatch(
            f'the vectors in the library are of "{space.name}", these are of "{said}"; import them '
            "into another library"
        )
