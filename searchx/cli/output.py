"""How commands print, and how they end: results on stdout, all else on stderr."""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import typer


def print_result(as_json: bool, document: Mapping[str, object], lines: Iterable[str]) -> None:
    """Print a result: one JSON document where it was asked for, else lines for people."""
    if as_json:
        print_json(document)
    else:
        print_lines(lines)


def print_json(document: Mapping[str, object]) -> None:
    """Print a JSON document for one answer."""
    print(json.dumps(document, indent=2))


def print_json_line(document: Mapping[str, object]) -> None:
    """Print a JSON document on one line, at once: it is one of many, and somebody waits for it."""
    print(json.dumps(document), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines for people."""
    for line in lines:
        print(line, flush=True)


def tell(line: str) -> None:
    """Say something that is no result, on stderr."""
    from searchx.terminal import visible

    print(visible(line), file=sys.stderr)


class _Told(logging.Handler):
    """Tells what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage())


@contextmanager
def verbosely(asked: bool) -> Iterator[None]:
    """Tell also what searchx notes beside its work, where that was asked for."""
    if not asked:
        yield
        return
    log, told = logging.getLogger("searchx"), _Told()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(told)
    try:
        yield
    finally:
        log.removeHandler(told)
        log.setLevel(level)


def flushed(code: int) -> int:
    """Give the exit code; a reader that went away, such as ``head``, is no failure to report."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


@contextmanager
def stoppable(line: str, code: int = 130) -> Iterator[None]:
    """End with a line and an exit code on Ctrl-C, and on SIGTERM just as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        tell(line)
        raise typer.Exit(code) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def working(verb: str) -> Iterator[None]:
    """Show on a terminal that something is being done, which can be stopped at any time."""
    from searchx.terminal import console

    with stoppable("stopped; run the same command again"), console(stderr=True).status(verb):
        yield
