"""Who may import whom. The table is the design; a change here is a change of the design."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("searchx", "indexer", "web", "migrations")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

FILTERS = {"searchx.dates", "searchx.errors", "searchx.filters"}
RECORDS = FILTERS | {"searchx.records"}
SQL = {
    "searchx.columns",
    "searchx.database",
    "searchx.entries",
    "searchx.facets",
    "searchx.fetching",
    "searchx.filtering",
    "searchx.holding",
    "searchx.inspection",
    "searchx.lexical",
    "searchx.writing",
}
MAY_IMPORT = {  # ours; what stands here may also be imported late, inside a function
    "searchx": set[str](),  # names for type checkers only
    "searchx.errors": set[str](),
    "searchx.dates": {"searchx.errors"},
    "searchx.filters": {"searchx.dates", "searchx.errors"},
    "searchx.records": FILTERS,
    "searchx.fitting": RECORDS,
    "searchx.forking": set[str](),
    "searchx.halving": RECORDS,
    "searchx.tokens": RECORDS,
    "searchx.turns": {"searchx.errors"},
    "searchx.towers": {"searchx.errors"},
    "searchx.presets": set[str](),
    "searchx.brought": set[str](),
    "searchx.eightbit": {"searchx.brought"},
    "searchx.bringing": RECORDS
    | {
        "searchx.brought",
        "searchx.eightbit",
        "searchx.encoder",
        "searchx.modeldir",
        "searchx.references",
    },
    "searchx.judging": RECORDS
    | {"searchx.encoder", "searchx.evaluation", "searchx.pairs", "searchx.relevance"},
    "searchx.quantizing": RECORDS
    | {
        "searchx.brought",
        "searchx.contents",
        "searchx.durable",
        "searchx.eightbit",
        "searchx.encoder",
        "searchx.judging",
        "searchx.pairs",
        "searchx.pictures",
        "searchx.runtime.compiled",
        "searchx.runtime.preparing",
    },
    "searchx.runtime": set[str](),
    "searchx.runtime.openvino": set[str](),
    "searchx.runtime.wording": set[str](),
    "searchx.cache": set[str](),
    "searchx.cutting": RECORDS | {"searchx.brought", "searchx.fusing", "searchx.relevance"},
    "searchx.running": {"searchx.cache"},
    "searchx.runtime.entries": RECORDS
    | {
        "searchx.cache",
        "searchx.durable",
        "searchx.fitting",
        "searchx.runtime.openvino",
        "searchx.runtime.wording",
    },
    "searchx.runtime.compiled": RECORDS
    | {"searchx.runtime.entries", "searchx.runtime.openvino", "searchx.runtime.wording"},
    "searchx.runtime.preparing": RECORDS
    | {"searchx.children", "searchx.precision", "searchx.runtime"},
    "searchx.encoder.names": RECORDS
    | {
        "searchx.brought",
        "searchx.cutting",
        "searchx.eightbit",
        "searchx.presets",
        "searchx.runtime.entries",
    },
    "searchx.encoder.weights": RECORDS | {"searchx.eightbit", "searchx.encoder.names"},
    "searchx.precision": {"searchx.errors"},
    "searchx.encoder.devices": {"searchx.errors", "searchx.precision"},
    "searchx.encoder.sizing": set[str](),
    "searchx.encoder.feeding": RECORDS,
    "searchx.encoder.plain": RECORDS
    | {
        "searchx.encoder.devices",
        "searchx.encoder.feeding",
        "searchx.encoder.names",
        "searchx.encoder.sizing",
        "searchx.encoder.weights",
        "searchx.fitting",
        "searchx.forking",
        "searchx.halving",
        "searchx.tokens",
        "searchx.towers",
    },
    "searchx.encoder.sharded": RECORDS | {"searchx.encoder.plain", "searchx.forking"},
    "searchx.encoder": RECORDS
    | {
        "searchx.cutting",
        "searchx.eightbit",
        "searchx.encoder",
        "searchx.fitting",
        "searchx.runtime.compiled",
        "searchx.runtime.preparing",
    },
    "searchx.runtime.samples": RECORDS | {"searchx.fitting"},
    "searchx.runtime.quantizing": {"searchx.runtime.openvino"},  # likewise a process of its own
    "searchx.runtime.exporting": RECORDS  # a process of its own, which nobody imports
    | {"searchx.encoder", "searchx.runtime", "searchx.towers"},
    "searchx.pictures": RECORDS | {"searchx.pictures"},
    "searchx.archives": RECORDS,
    "searchx.contents": RECORDS | {"searchx.archives", "searchx.pictures"},
    "searchx.pairs": RECORDS,
    "searchx.children": set[str](),
    "searchx.durable": set[str](),
    "searchx.ids": RECORDS,
    "searchx.words": set[str](),
    "searchx.patterns": FILTERS,
    "searchx.columns": RECORDS | {"searchx.ids", "searchx.patterns"},
    "searchx.filtering": RECORDS | {"searchx.columns", "searchx.ids", "searchx.patterns"},
    "searchx.facets": RECORDS
    | {"searchx.filtering", "searchx.ids", "searchx.patterns", "searchx.query"},
    "searchx.lexical": RECORDS | {"searchx.ids", "searchx.words"},
    "searchx.database": RECORDS | {"searchx.durable", "searchx.lexical"},
    "searchx.identity": RECORDS,
    "searchx.entries": RECORDS,
    "searchx.fetching": RECORDS | {"searchx.entries"},
    "searchx.holding": RECORDS | {"searchx.fetching"},
    "searchx.writing": RECORDS | {"searchx.database", "searchx.entries", "searchx.lexical"},
    "searchx.inspection": RECORDS
    | {"searchx.database", "searchx.identity", "searchx.lexical", "searchx.writing"},
    "searchx.catalog": RECORDS
    | SQL
    | {"searchx.durable", "searchx.forking", "searchx.spaces.beside"},
    "searchx.vectors": {"searchx.vectors"},  # the names that others use
    "searchx.vectors.exact": RECORDS,
    "searchx.vectors.selection": RECORDS | {"searchx.vectors.exact"},
    "searchx.vectors.foreign": RECORDS | {"searchx.children"},
    "searchx.vectors.unpacking": RECORDS,
    "searchx.vectors.inverted": RECORDS | {"searchx.vectors.exact", "searchx.vectors.selection"},
    "searchx.vectors.reranking": RECORDS | {"searchx.vectors.exact"},
    "searchx.vectors.tuning": RECORDS | {"searchx.vectors.exact", "searchx.vectors.inverted"},
    "searchx.vectors.manifest": RECORDS | {"searchx.vectors.inverted", "searchx.vectors.tuning"},
    "searchx.vectors.directory": RECORDS,
    "searchx.vectors.snapshots": RECORDS
    | {
        "searchx.durable",
        "searchx.vectors.directory",
        "searchx.vectors.exact",
        "searchx.vectors.inverted",
        "searchx.vectors.manifest",
        "searchx.vectors.reranking",
        "searchx.vectors.selection",
        "searchx.vectors.tuning",
    },
    "searchx.modeldir": RECORDS | {"searchx.encoder"},
    "searchx.evaluation": RECORDS
    | {
        "searchx.encoder",
        "searchx.measures",
        "searchx.pairs",
        "searchx.pictures",
        "searchx.splits",
    },
    "searchx.training": {"searchx.training"},  # the names that others use
    "searchx.training.settings": {"searchx.errors"},
    "searchx.training.processes": {"searchx.encoder"},
    "searchx.training.links": {"searchx.errors"},
    "searchx.training.mining": {"searchx.records"},
    "searchx.training.objective": {"searchx.training.processes"},
    "searchx.training.adapting": {"searchx.errors", "searchx.training.settings"},
    "searchx.training.distillation": RECORDS
    | {"searchx.fitting", "searchx.pictures", "searchx.modeldir", "searchx.pairs"},
    "searchx.training.feeds": RECORDS
    | {
        "searchx.encoder",
        "searchx.evaluation",
        "searchx.fitting",
        "searchx.pictures",
        "searchx.pairs",
        "searchx.tokens",
        "searchx.training.links",
        "searchx.training.processes",
        "searchx.training.settings",
    },
    "searchx.training.course": {
        "searchx.errors",
        "searchx.modeldir",
        "searchx.training.feeds",
        "searchx.training.mining",
        "searchx.training.objective",
        "searchx.training.processes",
        "searchx.training.settings",
    },
    "searchx.training.run": {
        "searchx.encoder",
        "searchx.errors",
        "searchx.modeldir",
        "searchx.pairs",
        "searchx.training",
    },
    "searchx.query": {"searchx.query"},  # the names that others use
    "searchx.query.values": FILTERS,
    "searchx.query.columns": FILTERS | {"searchx.query.values"},
    "searchx.query.completing": FILTERS | {"searchx.query.columns", "searchx.query.values"},
    "searchx.query.scanning": FILTERS | {"searchx.query.columns", "searchx.query.values"},
    "searchx.query.groups": FILTERS
    | {"searchx.query.columns", "searchx.query.scanning", "searchx.query.values"},
    "searchx.query.reading": RECORDS | {"searchx.query.groups", "searchx.query.scanning"},
    "searchx.query.writing": RECORDS
    | {
        "searchx.query.columns",
        "searchx.query.reading",
        "searchx.query.scanning",
        "searchx.query.values",
    },
    "searchx.query.documents": RECORDS | {"searchx.query.reading"},
    "searchx.query.negation": RECORDS
    | {
        "searchx.query.groups",
        "searchx.query.reading",
        "searchx.query.scanning",
        "searchx.query.writing",
    },
    "searchx.cursors": RECORDS,
    "searchx.ranking": RECORDS,
    "searchx.relevance": RECORDS,
    "searchx.prompts": set[str](),
    "searchx.duplicates": RECORDS | {"searchx.encoder"},
    "searchx.questions": RECORDS,
    "searchx.batching": RECORDS | {"searchx.encoder", "searchx.pictures", "searchx.prompts"},
    "searchx.heat": RECORDS | {"searchx.encoder"},
    "searchx.references": RECORDS
    | {
        "searchx.cache",
        "searchx.encoder",
        "searchx.relevance",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.views": RECORDS | {"searchx.catalog", "searchx.vectors"},
    "searchx.measured": RECORDS | {"searchx.catalog", "searchx.relevance", "searchx.views"},
    "searchx.arrow": RECORDS | {"searchx.durable"},
    "searchx.embedding": RECORDS | {"searchx.batching", "searchx.encoder", "searchx.pictures"},
    "searchx.ragged": {"searchx.errors"},
    "searchx.measures": RECORDS | {"searchx.ragged"},
    "searchx.splits": {"searchx.errors", "searchx.ragged"},
    "searchx.blocks": RECORDS | {"searchx.arrow", "searchx.views"},
    "searchx.refreshing": RECORDS
    | {
        "searchx.catalog",
        "searchx.measured",
        "searchx.references",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.neighbours": RECORDS
    | {
        "searchx.arrow",
        "searchx.blocks",
        "searchx.choosing",
        "searchx.grouping",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.profiles": RECORDS | {"searchx.ragged"},
    "searchx.choosing": RECORDS,
    "searchx.grouping": RECORDS | {"searchx.arrow", "searchx.catalog"},
    "searchx.wishes": RECORDS | {"searchx.grouping"},
    "searchx.histories": RECORDS
    | {"searchx.arrow", "searchx.profiles", "searchx.ragged", "searchx.vectors"},
    "searchx.recommending": RECORDS
    | {
        "searchx.arrow",
        "searchx.backdrops",
        "searchx.blocks",
        "searchx.choosing",
        "searchx.grouping",
        "searchx.histories",
        "searchx.profiles",
        "searchx.ragged",
        "searchx.ranked",
        "searchx.vectors",
        "searchx.views",
        "searchx.wishes",
    },
    "searchx.backdrops": RECORDS
    | {
        "searchx.adding.spaces",
        "searchx.catalog",
        "searchx.contents",
        "searchx.duplicates",
        "searchx.encoder",
        "searchx.measured",
        "searchx.pictures",
        "searchx.profiles",
        "searchx.references",
        "searchx.relevance",
        "searchx.views",
    },
    "searchx.ranked": RECORDS
    | {
        "searchx.backdrops",
        "searchx.catalog",
        "searchx.questions",
        "searchx.ranking",
        "searchx.relevance",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.clusters": RECORDS,
    "searchx.naming": RECORDS,
    "searchx.exploring": RECORDS
    | {
        "searchx.backdrops",
        "searchx.batching",
        "searchx.catalog",
        "searchx.clusters",
        "searchx.cursors",
        "searchx.naming",
        "searchx.ranking",
        "searchx.references",
        "searchx.relevance",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.copies": RECORDS | {"searchx.ranking"},
    "searchx.gathering": RECORDS
    | {
        "searchx.catalog",
        "searchx.copies",
        "searchx.cursors",
        "searchx.ranking",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.progress": RECORDS,
    "searchx.spaces": set[str](),
    "searchx.spaces.beside": RECORDS | SQL | {"searchx.ids"},
    "searchx.spaces.progress": RECORDS | {"searchx.catalog", "searchx.progress"},
    "searchx.spaces.switching": RECORDS
    | {
        "searchx.catalog",
        "searchx.database",
        "searchx.refreshing",
        "searchx.spaces.beside",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.taking_over": RECORDS | {"searchx.catalog", "searchx.encoder", "searchx.views"},
    "searchx.status": RECORDS
    | {
        "searchx.catalog",
        "searchx.database",
        "searchx.progress",
        "searchx.refreshing",
        "searchx.spaces.progress",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.paging": RECORDS
    | {"searchx.cursors", "searchx.ranked", "searchx.ranking", "searchx.relevance"},
    "searchx.adding": set[str](),
    "searchx.adding.spaces": RECORDS | {"searchx.catalog"},
    "searchx.adding.contents": RECORDS
    | {
        "searchx.archives",
        "searchx.contents",
        "searchx.fitting",
        "searchx.identity",
        "searchx.pictures",
    },
    "searchx.adding.given": RECORDS | {"searchx.adding.contents"},
    "searchx.adding.batches": RECORDS | {"searchx.adding.given"},
    "searchx.adding.adder": RECORDS
    | {
        "searchx.adding.contents",
        "searchx.adding.given",
        "searchx.catalog",
        "searchx.encoder",
        "searchx.entries",
        "searchx.identity",
        "searchx.refreshing",
    },
    "searchx.fusing": RECORDS,
    "searchx.adding.fuser": RECORDS
    | {
        "searchx.adding.adder",
        "searchx.adding.given",
        "searchx.catalog",
        "searchx.fusing",
    },
    "searchx.adding.library": RECORDS
    | {
        "searchx.adding.adder",
        "searchx.adding.batches",
        "searchx.adding.fuser",
        "searchx.adding.given",
        "searchx.adding.spaces",
        "searchx.arrow",
        "searchx.opened",
        "searchx.requests",
        "searchx.vectors",
    },
    "searchx.requests": RECORDS
    | {
        "searchx.query",
    },
    "searchx.kept": RECORDS,
    "searchx.opened": RECORDS
    | {
        "searchx.adding.spaces",
        "searchx.backdrops",
        "searchx.batching",
        "searchx.catalog",
        "searchx.encoder",
        "searchx.forking",
        "searchx.kept",
        "searchx.questions",
        "searchx.taking_over",
        "searchx.turns",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.surveying": RECORDS
    | {
        "searchx.catalog",
        "searchx.exploring",
        "searchx.facets",
        "searchx.gathering",
        "searchx.opened",
        "searchx.query",
        "searchx.requests",
        "searchx.status",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.arrays": RECORDS
    | {
        "searchx.arrow",
        "searchx.batching",
        "searchx.blocks",
        "searchx.embedding",
        "searchx.grouping",
        "searchx.histories",
        "searchx.neighbours",
        "searchx.opened",
        "searchx.questions",
        "searchx.ragged",
        "searchx.recommending",
        "searchx.requests",
        "searchx.vectors",
        "searchx.views",
        "searchx.wishes",
    },
    "searchx.labels": set[str](),  # the names stand in its modules
    "searchx.labels.vocabulary": {"searchx.errors"},
    "searchx.labels.classifier": RECORDS
    | {
        "searchx.batching",
        "searchx.encoder",
        "searchx.labels.vocabulary",
        "searchx.prompts",
        "searchx.relevance",
    },
    "searchx.labels.tagging": {
        "searchx.catalog",
        "searchx.labels.classifier",
        "searchx.labels.vocabulary",
    },
    "searchx.labelling": RECORDS
    | {
        "searchx.blocks",
        "searchx.catalog",
        "searchx.labels",
        "searchx.opened",
        "searchx.requests",
        "searchx.views",
    },
    "searchx.search": RECORDS
    | {
        "searchx.adding.library",
        "searchx.adding.spaces",
        "searchx.arrays",
        "searchx.arrow",
        "searchx.labelling",
        "searchx.backdrops",
        "searchx.cursors",
        "searchx.encoder",
        "searchx.heat",
        "searchx.kept",
        "searchx.opened",
        "searchx.paging",
        "searchx.pictures",
        "searchx.query",
        "searchx.questions",
        "searchx.ranked",
        "searchx.requests",
        "searchx.surveying",
        "searchx.views",
        "searchx.words",
    },
    "searchx.comparing": RECORDS
    | {
        "searchx.catalog",
        "searchx.contents",
        "searchx.encoder",
        "searchx.evaluation",
        "searchx.measures",
        "searchx.pairs",
    },
    "searchx.exchange": RECORDS
    | {
        "searchx.adding",
        "searchx.archives",
        "searchx.arrow",
        "searchx.blocks",
        "searchx.contents",
        "searchx.durable",
        "searchx.encoder",
        "searchx.exchange",
        "searchx.pictures",
        "searchx.requests",
        "searchx.search",
        "searchx.vectors",
    },
    "searchx.adapters": RECORDS
    | {
        "searchx.adapters",
        "searchx.contents",
        "searchx.embedding",
        "searchx.encoder",
        "searchx.exchange",
        "searchx.pictures",
        "searchx.search",
    },
    "searchx.documents": RECORDS,
    "searchx.connection": RECORDS | {"searchx.documents"},
    "searchx.sending": RECORDS | {"searchx.query"},
    "searchx.surveyed": RECORDS
    | {
        "searchx.catalog",
        "searchx.documents",
        "searchx.exploring",
        "searchx.gathering",
        "searchx.progress",
        "searchx.spaces.progress",
        "searchx.status",
    },
    "searchx.remote": RECORDS
    | {
        "searchx.arrow",
        "searchx.connection",
        "searchx.documents",
        "searchx.exploring",
        "searchx.gathering",
        "searchx.labels.classifier",
        "searchx.labels.vocabulary",
        "searchx.query",
        "searchx.requests",
        "searchx.sending",
        "searchx.status",
        "searchx.surveyed",
        "searchx.vectors",
    },
    "searchx.upkeep": RECORDS
    | SQL
    | {
        "searchx.catalog",
        "searchx.pictures",
        "searchx.refreshing",
        "searchx.status",
        "searchx.vectors",
        "searchx.views",
    },
    "searchx.models": set[str](),
    "searchx.models.start_mini": set[str](),  # run by hand
    "searchx.reasons": set[str](),  # names for type checkers only
    "searchx.terminal": {"searchx.reasons"},  # what the commands show; likewise
    "searchx.cli": {"searchx.cli", "searchx.errors"},
    "searchx.cli.__main__": {"searchx.cli"},
    "searchx.cli.options": {"searchx.errors", "searchx.terminal"},
    "searchx.cli.output": {"searchx.terminal"},
    "searchx.cli.meter": {"searchx.records", "searchx.terminal"},
    "searchx.cli.following": {"searchx.cli", "searchx.records", "searchx.terminal"},
    "searchx.cli.ingest": {"searchx", "indexer"},
    "searchx.cli.exchange": {"searchx"},
    "searchx.cli.hits": {"searchx"},
    "searchx.cli.ask": {"searchx", "web"},
    "searchx.cli.labels": {"searchx"},
    "searchx.cli.upkeep": {"searchx"},
    "searchx.cli.migrating": {"searchx", "indexer"},
    "searchx.cli.models": {"searchx", "indexer"},
    "searchx.cli.bringing": {"searchx"},
    "searchx.cli.doctor": {"searchx", "indexer"},
    "searchx.cli.quantizing": {"searchx", "indexer"},
    "indexer": {"searchx", "indexer"},
    "web": {"searchx", "web"},
    "migrations": set[str](),
}
ONLY_IN = {  # libraries that live in one place
    "sqlalchemy": (
        "searchx.catalog",
        "searchx.columns",
        "searchx.database",
        "searchx.entries",
        "searchx.entries",
        "searchx.facets",
        "searchx.fetching",
        "searchx.filtering",
        "searchx.holding",
        "searchx.inspection",
        "searchx.lexical",
        "searchx.spaces.beside",
        "searchx.writing",
        "migrations",
    ),
    "sqlite3": ("searchx.database",),
    "alembic": ("searchx.database", "migrations"),
    "faiss": (
        "searchx.vectors.exact",
        "searchx.vectors.foreign",
        "searchx.vectors.inverted",
        "searchx.vectors.reranking",
        "searchx.vectors.unpacking",
    ),
    "h5py": ("searchx.exchange.hdf5",),
    "langchain_core": ("searchx.adapters.langchain",),
    "llama_index": ("searchx.adapters.llamaindex",),
    "haystack": ("searchx.adapters.haystack",),
    "sklearn": ("searchx.adapters.sklearn",),
    "datasets": ("searchx.adapters.datasets",),
    "openvino": ("searchx.runtime.openvino",),
    "nncf": ("searchx.runtime.quantizing",),
    "httpx2": ("searchx.connection",),
    "mcp": ("web.mcp", "web.assistants"),
    "fastapi": ("web",),
    "starlette": ("web",),
    "uvicorn": ("web",),
    "h11": ("web.limits",),
    "prometheus_client": ("web",),
    "typer": ("searchx.cli",),
    "rich": ("searchx.cli", "searchx.terminal"),
    "pillow_heif": ("searchx.pictures",),
    "imagecodecs": ("searchx.pictures.jpegxl", "searchx.pictures.jpeg2000"),
    "rawpy": ("searchx.pictures.raw",),
    "pypdfium2": ("indexer",),
    "docx": ("indexer",),
    "lxml": ("indexer",),
    "defusedxml": ("indexer",),
    "charset_normalizer": ("indexer",),
    "pathspec": ("indexer",),
    "watchfiles": ("indexer",),
}
LATE = {
    *("torch", "open_clip", "transformers", "faiss", "alembic", "pyarrow", "onnx", "uvicorn"),
    *(
        "openvino",
        "nncf",
        "tokenizers",
        "ftfy",
        "regex",
        "imagecodecs",
        "rawpy",
        "pypdfium2",
        "docx",
        "lxml",
        "watchfiles",
        "charset_normalizer",
    ),
}
AT_ONCE = {  # where nothing can be done without them, and who is itself imported late
    "torch": (
        "searchx.training",
        "searchx.modeldir",
        "searchx.models.start_mini",
        "searchx.adapters.torch",
    ),
    "pyarrow": ("searchx.adapters.datasets",),
    "open_clip": ("searchx.training",),
    "alembic": ("migrations",),
    "uvicorn": ("web.limits",),
}
IMPORTED_LATE = {*AT_ONCE["torch"], *AT_ONCE["pyarrow"], *AT_ONCE["uvicorn"]}


@dataclass(frozen=True, slots=True)
class Import:
    """An import statement of a module."""

    by: str
    name: str
    line: int
    is_late: bool  # inside a function, or for type checkers only
    is_typing: bool


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _imports(module_of(path), tree, is_late=False, is_typing=False)


def _imports(by: str, node: ast.AST, is_late: bool, is_typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(by, alias.name, child.lineno, is_late, is_typing)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{by} line {child.lineno}: imports are written in full"
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                name = whole if whole in MODULES else child.module or ""
                yield Import(by, name, child.lineno, is_late, is_typing)
        typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        late = typing or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(by, child, is_late or late, is_typing or typing)


ALL = [one for path in FILES for one in imports(path)]


def is_in(module: str, places: tuple[str, ...] | set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def key_of(module: str) -> str:
    """Give the nearest entry of the table: the module itself, or a package that it is in."""
    while module not in MAY_IMPORT:
        module = module.rpartition(".")[0]
    return module


def rule_of(module: str) -> set[str]:
    return MAY_IMPORT[key_of(module)]


def found(wrong: list[Import]) -> list[str]:
    return [f"{one.by} line {one.line} imports {one.name}" for one in wrong]


def test_every_module_is_in_the_table() -> None:
    ours = {module for module in MODULES if module.split(".")[0] == "searchx"}
    assert {one for one in ours if key_of(one) == "searchx"} == {"searchx"}
    assert set(MAY_IMPORT) - set(PACKAGES) <= ours


def test_imports_go_one_way() -> None:
    ours = [one for one in ALL if is_in(one.name, PACKAGES) and not one.is_typing]
    assert len(ours) > 50
    assert found([one for one in ours if not is_in(one.name, rule_of(one.by))]) == []


def test_no_import_leads_back_to_where_it_began() -> None:
    graph: dict[str, set[str]] = {}
    for one in ALL:
        if not one.is_typing and not is_in(one.name, ("searchx.cli",)):
            graph.setdefault(one.by, set()).add(one.name)
    assert list(TopologicalSorter(graph).static_order())


def test_the_web_and_the_indexer_know_nothing_of_each_other() -> None:
    """For type checkers neither."""
    both = [one for one in ALL if is_in(one.by, ("web",)) and is_in(one.name, ("indexer",))]
    both += [one for one in ALL if is_in(one.by, ("indexer",)) and is_in(one.name, ("web",))]
    assert found(both) == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_lives_in_one_place(library: str) -> None:
    users = [one for one in ALL if is_in(one.name, (library,))]
    assert users
    assert found([one for one in users if not is_in(one.by, ONLY_IN[library])]) == []


def test_what_is_heavy_is_imported_late() -> None:
    wrong = [
        one
        for one in ALL
        if is_in(one.name, LATE)
        and not one.is_late
        and not is_in(one.by, AT_ONCE.get(one.name.split(".")[0], ()))
    ]
    assert found(wrong) == []


def test_who_needs_it_at_once_is_imported_late() -> None:
    users = [
        one for one in ALL if is_in(one.name, IMPORTED_LATE) and not is_in(one.by, IMPORTED_LATE)
    ]
    assert found([one for one in users if not one.is_late]) == []


def test_the_command_line_imports_indexer_and_web_inside_its_commands() -> None:
    users = [one for one in ALL if is_in(one.by, ("searchx",)) and is_in(one.name, PACKAGES[1:])]
    assert found([one for one in users if not one.is_late]) == []


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    if is_in(module_of(path), ("searchx.cli",)):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert {"print", "sys.exit", "exit", "quit", "os._exit"} & set(calls) == set()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_is_made_by_an_import(path: Path) -> None:
    """No module-level engine, model, application, lock or library."""
    allowed = {"searchx.cli": {"typer.Typer"}}.get(module_of(path), set[str]())
    made = {"create_engine", "sa.create_engine", "FastAPI", "create_app", "Library", "Catalog"}
    made |= {"load_encoder", "OpenClipEncoder", "Library.open", "Catalog.open", "typer.Typer"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = [one for one in tree.body if not isinstance(one, ast.FunctionDef | ast.ClassDef)]
    calls = [
        ast.unparse(node.func)
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    ]
    assert (made - allowed) & set(calls) == set()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_failure_is_caught_without_a_name(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    assert [node.lineno for node in handlers if node.type is None] == []


def test_the_test_sees_what_it_forbids(tmp_path: Path) -> None:
    source = "if TYPE_CHECKING:\n    import faiss\ndef f():\n    import web\nimport torch.nn\n"
    tree = ast.parse(source)
    seen = list(_imports("indexer.x", tree, is_late=False, is_typing=False))
    assert [(one.name, one.is_late, one.is_typing) for one in seen] == [
        ("faiss", True, True),
        ("web", True, False),
        ("torch.nn", False, False),
    ]
