"""``import searchx`` costs little, and the commands answer a person at once."""

import subprocess
import sys
import time

import pytest

HEAVY = (
    "torch",
    "open_clip",
    "transformers",
    "faiss",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "pyarrow",
    "PIL",
    "numpy",
    "imagecodecs",
    "rawpy",
    "pypdfium2",
    "docx",
    "lxml",
    "watchfiles",
    "rich",
)
COMMAND = [sys.executable, "-c", "from searchx.cli import main; main()"]  # as the script has it
PROMISED = 0.5  # seconds until help is there


def loaded_by(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter; gives the names of the modules it loads."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("statement", ["import searchx", "import searchx, indexer, web"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) & set(HEAVY) == set()


def test_the_public_names_are_all_there() -> None:
    names = "import searchx\nfor name in searchx.__all__: assert getattr(searchx, name), name"
    assert loaded_by(names) & {"torch", "fastapi", "faiss"} == set()
    assert loaded_by("from searchx.records import Hit") & {"torch", "sqlalchemy", "PIL"} == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import searchx

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = searchx.nothing
    assert set(searchx.__all__) <= set(dir(searchx))


def test_the_commands_load_nothing_heavy() -> None:
    assert loaded_by("import searchx.cli") & (set(HEAVY) - {"numpy"}) == set()


def test_help_is_there_in_less_than_half_a_second() -> None:
    """The best of a few is what the program needs; the rest is the machine's other work."""
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        run = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - started)
        assert run.returncode == 0, run.stderr
        assert "index" in run.stdout
        if len(seconds) >= 3 and min(seconds) < PROMISED:
            return
    raise AssertionError(f"help took {min(seconds):.2f} s at best, promised are {PROMISED} s")
