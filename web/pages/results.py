"""The start page, and what a search gives."""

import secrets
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from searchx import records
from searchx.errors import BadInput, NoLibrary, SearchxError
from searchx.query import notice, parse
from searchx.records import Facet, Facets, Hit, Kind, Target
from searchx.search import Library
from web import api
from web.answers import page, status_of
from web.api import Served
from web.asked import Asked, AskedHere, unfiltered
from web.chips import DIFFERENT, chips
from web.completion import Values, ValuesHere
from web.panel import panel
from web.pictures import Uploads, UploadsHere
from web.shapes import MAX_TEXT, How
from web.thumbnails import preview
from web.trail import question_of
from web.wording import is_running_text, weak_from

START_PICTURES = 24
LONGEST_TRY = 40  # characters

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(
    request: Request, library: Served, uploads: UploadsHere, values: ValuesHere, asked: AskedHere
) -> Response:
    if asked.random is not None:
        return _sample_page(request, library, asked, asked.random)
    if not asked.anything:
        return _start_page(request, library, values, asked)
    return _results_page(request, library, uploads, asked)


@router.get("/more")
def more(request: Request, library: Served, uploads: UploadsHere, asked: AskedHere) -> Response:
    """Give the next hits alone, for a page that has the ones before them."""
    typed = parse(asked.q, files=False)
    answer = _answer(library, uploads, asked)
    return page(request, "more.html", 200, **_shown(library, asked, typed, answer))


@router.post("/")
def ask_with_picture(
    request: Request,
    library: Served,
    uploads: UploadsHere,
    image: Annotated[UploadFile | None, File()] = None,
    q: Annotated[str, Form(max_length=MAX_TEXT)] = "",
    to: Annotated[Target, Form()] = "image",
) -> Response:
    """Take a picture and lead to the address of its results, which can be reloaded."""
    words = Asked(q.strip(), to)
    try:
        content = api.content_of(image)
        if content is None:
            return RedirectResponse(words.address, 303)
        name = uploads.add(content, library.encoder.fit)
    except SearchxError as error:
        return _failed_search(request, words, error)
    return RedirectResponse(replace(words, picture=name).address, 303)


@router.get("/pictures/{name}")
def query_picture(name: str, uploads: UploadsHere) -> Response:
    return Response(uploads.get(name).preview, media_type="image/webp")


def _results_page(request: Request, library: Library, uploads: Uploads, asked: Asked) -> Response:
    try:
        typed = parse(asked.q, files=False)
    except BadInput as error:
        return _failed_search(request, asked, error)
    try:
        answer = _answer(library, uploads, asked)
    except NoLibrary:
        answer = records.Answer(())  # the page says that nothing is indexed yet
    except (SearchxError, HTTPException) as error:
        plain = replace(asked, like=None, picture=None)  # it may be these
        return _failed_search(request, plain, error)
    return page(
        request,
        "results.html",
        200,
        **_shown(library, asked, typed, answer),
        chips=chips(asked, typed),
        panel=panel(library, asked, typed),
        passing=sum(one.passing for one in answer.explained),
        wider=unfiltered(asked, typed),
        state=None if answer.hits else library.overview(),
    )


def _start_page(request: Request, library: Library, values: Values, asked: Asked) -> Response:
    """Show the box, and some pictures of the library: the same ones all day."""
    try:
        items = library.sample(START_PICTURES, "image", seed=date.today().toordinal())
    except NoLibrary:
        items = []
    return page(
        request,
        "home.html",
        asked=asked,
        state=library.overview(),
        skipped=sum(files for _, files in library.skipped_reasons()),
        tries=_tries(values.facets()),
        hits=[Hit(item, 0.0) for item in items],
        preview=partial(preview, directory=library.directory),
    )


def _tries(facets: Facets) -> list[Facet]:
    """Give some filters to begin with: what the library has most of, and its latest year."""
    years = sorted(facets.year, key=lambda one: one.value)[-1:]
    each = (years, facets.folder[:1], facets.camera[:1], facets.keyword[:1])
    return [one for of in each for one in of if len(one.where) <= LONGEST_TRY]


def _shown(
    library: Library, asked: Asked, typed: records.Query, answer: records.Answer
) -> dict[str, object]:
    """Give what the templates of hits need."""
    contexts = {
        hit.id: library.context(hit.id)
        for hit in answer.hits
        if hit.item.kind == "text" and is_running_text(hit.item.locations[0])
    }
    return {
        "asked": asked,
        "typed": typed,
        "target": typed.to or asked.to,
        "answer": answer,
        "weak_from": weak_from(answer, asked.after is None),
        "contexts": contexts,
        "preview": partial(preview, directory=library.directory),
    }


def _answer(library: Library, uploads: Uploads, asked: Asked) -> records.Answer:
    query, target = question_of(uploads, asked)
    diversity = DIFFERENT if asked.varied else 0.0
    how = How(k=asked.k, after=asked.after, group=asked.group, diversity=diversity)
    return replace(api.find(library, query, how, target), notice=notice(asked.q))


def _sample_page(request: Request, library: Library, asked: Asked, seed: str) -> Response:
    """Show items at random; the address names the seed, so that it can be reloaded."""
    if not seed:
        return RedirectResponse(asked.at_random(str(secrets.randbelow(api.SEEDS))).address, 303)
    kind: Kind = "text" if asked.to == "text" else "image"
    try:
        where = parse(asked.q, files=False).where
        items = library.sample(asked.k, kind, where=where, seed=int(seed))
    except NoLibrary:
        items = []
    except SearchxError as error:
        return _failed_search(request, asked, error)
    hits = [Hit(item, 0.0) for item in items]
    return page(
        request,
        "random.html",
        asked=asked,
        kind=kind,
        hits=hits,
        state=None if hits else library.overview(),
        preview=partial(preview, directory=library.directory),
    )


def _failed_search(request: Request, asked: Asked, error: SearchxError | HTTPException) -> Response:
    """Show what went wrong above the box, so that the question can be changed."""
    if isinstance(error, SearchxError):
        status, line = status_of(error), str(error)
    else:
        status, line = error.status_code, error.detail
    return page(request, "failed_search.html", status, asked=asked, line=line)
