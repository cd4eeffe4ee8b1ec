"""What `searchx search` asks a library, and how it prints what comes back."""

import logging
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from searchx.cli.output import print_json, print_lines, tell
from searchx.cursors import Cursor, digest_of
from searchx.documents import answer_of
from searchx.errors import BadInput
from searchx.query import notice, parse, query_as_json
from searchx.records import Answer, Hit, Kind, Part, Query, Target
from searchx.requests import asked_of, target_of, written_as
from searchx.running import Unanswered, answered, is_running, place_of
from searchx.sending import carried
from searchx.terminal import console, hit_line, plan_lines

if TYPE_CHECKING:
    from searchx.search import Library

_LOG = logging.getLogger(__name__)
_SEEDS = 2**31  # as many as need no care in any language


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed. The fields are the keys of the JSON document."""

    text: str  # in the query language
    image: Path | None
    like: int | None
    to: Target
    k: int
    where: str | None
    after: str | None
    group: bool
    diversity: float

    def query(self) -> Query:
        """Read it; raises BadInput, also for a picture that cannot be read.

        That is told before the model is loaded.
        """
        query = parse(self.text)
        beside = (Part(image=self.image), Part(like=self.like))
        query = replace(query, parts=query.parts + tuple(one for one in beside if not one.is_empty))
        for one in query.every_part:
            if one.image is not None:
                from searchx.pictures.images import open_image

                open_image(one.image, at_least=1)
        return query

    def answer(self, library: "Library", query: Query) -> Answer:
        """Ask the library."""
        answer = library.ask(
            query,
            self.k,
            self.to,
            where=self.where,
            after=self.after,
            group=self.group,
            diversity=self.diversity,
        )
        return replace(answer, notice=notice(self.text))

    def as_dict(self, query: Query) -> dict[str, object]:
        """Give the JSON shape of what was asked; the words may say themselves what to find."""
        shape = {name: getattr(self, name) for name in self.__dataclass_fields__}
        text = self.text.encode("utf-8", "replace").decode()  # a shell may pass any bytes
        image = None if self.image is None else str(self.image)
        return shape | {"text": text, "image": image, "to": query.to or self.to}


def from_server(library: Path, asked: Asked) -> tuple[Query, Answer] | None:
    """Have a server answer that this user runs on the library, which has the model in memory.

    Gives the query as it was read, and the answer that would be given here; None where there is no
    such server, and where anything about it is unusual. Raises BadInput.
    """
    place = place_of(library)
    if place is None or not is_running(place):
        return None
    query = asked.query()
    try:
        answer = _sent(place, asked, query)
    except (Unanswered, BadInput, KeyError, TypeError) as error:
        _LOG.info("the searchx serve of this library does not answer this (%s)", error)
        return None
    _LOG.info("answered by the searchx serve of this library")
    return query, answer


def _sent(place: Path, asked: Asked, query: Query) -> Answer:
    """Ask a server; raises what an answer that is none raises, and what cannot be sent."""
    whole = asked_of(query, asked.where)
    has_picture = any(one.image is not None for one in whole.every_part)
    if has_picture and asked.after is not None:
        raise Unanswered("a server has cursors of its own for what is asked with a picture")
    target = target_of(whole, asked.to)
    sent = query_as_json(carried(replace(whole, to=target)))
    how = {"k": asked.k, "after": asked.after, "group": asked.group, "diversity": asked.diversity}
    found = answer_of(answered(place, "/api/search", {**sent, **how, "explain": True}))
    cursor = found.cursor
    if has_picture and cursor is not None:
        written = written_as(whole, target, asked.group, asked.diversity)
        cursor = Cursor.readdressed(cursor, digest_of(written))
    return replace(found, cursor=cursor, notice=notice(asked.text))


def print_answer(asked: Asked, query: Query, answer: Answer, as_json: bool, explain: bool) -> None:
    """Print an answer: one JSON document, or a line for each hit and messages on stderr."""
    if as_json:
        document = {"query": asked.as_dict(query), **answer.as_dict()}
        plans = {"explained": [one.as_dict() for one in answer.explained]} if explain else {}
        return print_json(document | plans)
    if answer.notice is not None:
        tell(f"did you mean: {answer.notice}")
    if not answer.hits:
        tell(_nothing(asked, query.to or asked.to, answer))
    elif not answer.has_match:
        tell("nothing here matches; the nearest there is:")
    _print_hits(answer.hits, is_weak=not answer.has_match, explain=explain)
    if explain:
        print_lines(plan_lines(answer.explained))
    if answer.cursor is not None:
        tell(f"more: --after {answer.cursor}")
    return None


def print_sample(
    library: "Library", k: int, to: Kind, where: str | None, seed: int | None, as_json: bool
) -> None:
    """Print items at random, in the shape of hits that were not compared with anything."""
    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    hits = tuple(Hit(item, 0.0) for item in library.sample(k, to, where=where, seed=seed))
    if as_json:
        asked = {"to": to, "k": k, "where": where, "seed": seed}
        return print_json({"query": asked, "hits": [hit.as_dict() for hit in hits]})
    if not hits:
        tell(
            f"nothing found: no {to} passes the filter"
            if where
            else f"nothing found: the library holds no {to}"
        )
    return _print_hits(hits)


def _print_hits(hits: tuple[Hit, ...], is_weak: bool = False, explain: bool = False) -> None:
    results = console()
    for hit in hits:
        results.print(hit_line(hit, Path.cwd(), is_weak=is_weak, explain=explain))


def _nothing(asked: Asked, to: Target, answer: Answer) -> str:
    """Say why there is no hit at all."""
    what = "image or text" if to == "both" else to
    if asked.after is not None:
        return "there are no more hits"
    if not any(one.items for one in answer.explained):
        return f"nothing found: the library holds no {what} to compare with"
    if not any(one.passing for one in answer.explained):
        return f"nothing found: no {what} passes the filter"
    return "nothing found"
