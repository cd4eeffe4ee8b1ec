"""Give the labels of a vocabulary to the pictures of a library, and keep them beside its keywords.

Tags belong to a picture, whatever file it is in: they stay when that is moved or read again, and go
with the picture. How they were given is kept, so that new pictures can be given the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from searchx.catalog import Catalog
from searchx.labels.classifier import Classified
from searchx.labels.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Tagged:
    """What was given, or would be."""

    pictures: int  # that were looked at
    tagged: int  # that got a label or more
    labels: Mapping[str, int]  # how many pictures got each, in the order of the vocabulary

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        listed = [{"label": name, "pictures": count} for name, count in self.labels.items()]
        return {"pictures": self.pictures, "tagged": self.tagged, "labels": listed}


def tag(
    catalog: Catalog,
    vocabulary: Vocabulary,
    blocks: Iterable[Classified],
    least: float,
    keep: bool,
) -> Tagged:
    """Write the labels of block after block, in place of the tags that those pictures had.

    Each block is a transaction of its own. Unless `keep`, nothing is written. Pictures that went
    away meanwhile are passed over.
    """
    pictures = tagged = 0
    counted: Counter[str] = Counter()
    for block in blocks:
        words = block.names(least)
        counted.update(word for several in words for word in several)
        pictures += len(words)
        tagged += sum(bool(several) for several in words)
        if keep:
            with catalog.writing() as tx:
                tx.set_tags(dict(zip(block.ids.tolist(), words, strict=True)))
    return Tagged(pictures, tagged, {name: counted[name] for name in vocabulary.names})
