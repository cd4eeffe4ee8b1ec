"""Ask a library which labels fit its pictures, and keep them as keywords."""

import json
from collections.abc import Iterator
from typing import Final

from searchx.blocks import blocks
from searchx.catalog import Tagging
from searchx.errors import BadInput
from searchx.filters import All, Between, Filter
from searchx.labels.classifier import LEAST, Classified, Classifier
from searchx.labels.tagging import Tagged, tag
from searchx.labels.vocabulary import Given, Vocabulary
from searchx.opened import Opened
from searchx.requests import filter_of
from searchx.views import View

_BLOCK: Final = 4_096  # pictures judged at a time, with few labels
_CELLS: Final = 4 << 20  # chances held at a time


class Labels(Opened):
    """Labels of the user's own, given without training."""

    def classify(self, labels: Given, *, where: str | Filter | None = None) -> Iterator[Classified]:
        """Tell how likely each of some labels fits each picture, by ascending id, in blocks.

        An entry of `labels` is a word, `word: phrase; phrase` with texts that stand for it, or
        `word | word` of which a picture gets one at most; a mapping gives each label its phrases.
        A block has `ids` (b,), `shares` (b, labels), calibrated against everyday captions, and
        `given(min_share)` and `names(min_share)`. It is as of the moment of the call. Raises
        BadInput.
        """
        return self._classified(Vocabulary.of(labels), filter_of(where))[1]

    def tag(
        self,
        labels: Given | None = None,
        *,
        min_share: float = LEAST,
        where: str | Filter | None = None,
        dry_run: bool = False,
    ) -> Tagged:
        """Give pictures those labels that fit with a chance of at least `min_share`, as keywords.

        They take the place of the tags that these pictures had; what files say stays as it is.
        Without labels, what was given last is given again, to all that passes. Raises BadInput.
        """
        if labels is None:
            known = self._tagging()
            vocabulary = Vocabulary.of(json.loads(known.vocabulary))
            min_share, passes = known.least, known.passing
        else:
            vocabulary, passes = Vocabulary.of(labels), filter_of(where)
            _check(min_share)
        return self._tag(vocabulary, min_share, passes, None, not dry_run)

    def tag_new(self) -> Tagged | None:
        """Give the pictures that came since the labels that were given last; None without any."""
        known = self._catalog.tagging()
        if known is None:
            return None
        vocabulary = Vocabulary.of(json.loads(known.vocabulary))
        if not self._catalog.has_after("image", known.until):
            return Tagged(0, 0, dict.fromkeys(vocabulary.names, 0))  # no model is loaded for it
        return self._tag(vocabulary, known.least, known.passing, known.until, True)

    def drop_tags(self) -> int:
        """Take all tags away, and forget how they were given; gives how many pictures had some."""
        with self._catalog.writing() as tx:
            return tx.drop_tags()

    def _tag(
        self,
        vocabulary: Vocabulary,
        least: float,
        passes: Filter | None,
        after: int | None,
        keep: bool,
    ) -> Tagged:
        until, found = self._classified(vocabulary, passes, after or 0)
        made = tag(self._catalog, vocabulary, found, least, keep)
        if keep:
            told = json.dumps(vocabulary.entries())
            with self._catalog.writing() as tx:
                tx.remember_tagging(Tagging(told, least, passes, until))
        return made

    def _classified(
        self, vocabulary: Vocabulary, passes: Filter | None, after: int = 0
    ) -> tuple[int, Iterator[Classified]]:
        """Give the highest id there is, and the pictures above an id that pass, judged."""

        def readied() -> tuple[View, Classifier | None]:
            view = self._view("image")
            background = self._backdrops.of(view, "text", lambda: view).background
            if background is None:
                if view.count:
                    raise BadInput(
                        "labels need the model of the library, and its vectors were given by "
                        "programs; make one with a model, and add the pictures to it"
                    )
                return view, None
            return view, Classifier.of(vocabulary, self.encoder, background)

        self._space()
        with self._bulk.one():
            view, classifier = self._in_one_space(readied)
        until = int(view.ids[-1]) if view.count else 0
        if classifier is None:
            return until, iter(())
        newer = Between("id", after + 1, None) if after else None
        both = [one for one in (passes, newer) if one is not None]
        choice = view.choose(self._catalog, All(tuple(both)) if both else None)
        size = max(1, min(_BLOCK, _CELLS // len(vocabulary.labels)))
        found = blocks(view, choice, size)
        return until, (classifier.classified(one.ids, one.vectors) for one in found)

    def _tagging(self) -> Tagging:
        known = self._catalog.tagging()
        if known is None:
            raise BadInput("no labels were given yet; name some, or a file with --vocabulary")
        return known


def _check(share: float) -> None:
    if not 0 < share <= 1:
        raise BadInput(f"the share is {share}; it must be above 0 and at most 1")
