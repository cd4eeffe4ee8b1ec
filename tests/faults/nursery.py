"""A process that has everything loaded, and forks a child for each job: no child has to import.

It has one thread, and reads jobs as lines of JSON from stdin; an answer is a line on stdout.
Run by ``driver.Nursery``.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from searchx.errors import SearchxError
from tests.faults.looking import look
from tests.faults.scenarios import ALL
from tests.faults.steps import Steps

Answer: TypeAlias = dict[str, Any]
_MAY_TRACE = 0x59616D61  # PR_SET_PTRACER: strace is no ancestor of the child


def main() -> None:
    _load_everything()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(_run(job)), flush=True)


def _run(job: dict[str, Any]) -> Answer:
    """Do a job in a child, under strace where that is asked for."""
    ours, its = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _become_child(job, its)
    its.close()
    tracer = _trace(child, job["strace"]) if "strace" in job else None
    ours.sendall(b".")  # it may begin
    said = b""
    while part := _receive(ours):
        said += part
    _, status = os.waitpid(child, 0)
    ours.close()
    if tracer:
        tracer.communicate()
    return {"pid": child, "exit": os.waitstatus_to_exitcode(status), **json.loads(said or b"{}")}


def _receive(ours: socket.socket) -> bytes:
    try:
        return ours.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _trace(child: int, arguments: list[str]) -> "subprocess.Popen[bytes]":
    tracer = subprocess.Popen(["strace", "-p", str(child), *arguments], stderr=subprocess.PIPE)
    assert tracer.stderr
    tracer.stderr.readline()  # "Process 123 attached"
    return tracer


def _become_child(job: dict[str, Any], its: socket.socket) -> None:
    """Do the job, say what came of it, and end without a word to the parent's buffers."""
    try:
        signal.alarm(100)
        if "strace" in job:
            ctypes.CDLL(None).prctl(_MAY_TRACE, ctypes.c_long(-1))
        its.recv(1)
        answer = JOBS[job["do"]](job)
        its.sendall(json.dumps(answer).encode())
    except BaseException:
        its.sendall(json.dumps({"crash": traceback.format_exc()}).encode())
    os._exit(0)


def _prepare(job: dict[str, Any]) -> Answer:
    place = Path(job["place"])
    place.mkdir(parents=True)
    ALL[job["scenario"]].prepare(place)
    return {}


def _act(job: dict[str, Any]) -> Answer:
    """Do what a scenario does; with a step to die at, die there; with `steps`, name all steps."""
    place, scenario = Path(job["place"]), ALL[job["scenario"]]
    at = job.get("at")
    steps = Steps(tuple(at) if at else None)
    try:
        if at or job.get("steps"):
            embedded = steps.watch(lambda: scenario.act(place))
        else:
            embedded = scenario.act(place)
    except KeyboardInterrupt:
        return {"error": "KeyboardInterrupt", "plain": True}
    except Exception as error:
        is_plain = isinstance(error, SearchxError) and "\n" not in str(error)
        said = str(error) if is_plain else traceback.format_exc()
        return {"error": f"{type(error).__name__}: {said}", "plain": is_plain}
    return {"embedded": embedded, "steps": steps.seen}


def _look(job: dict[str, Any]) -> Answer:
    place = Path(job["place"])
    return {**look(place).as_dict(), "also": ALL[job["scenario"]].also(place)}


JOBS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "prepare": _prepare,
    "act": _act,
    "look": _look,
}


def _load_everything() -> None:
    """Import what is imported late, too; then nothing is loaded while a fault is on."""
    import faiss

    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        for number, name in enumerate(("index what has changed", "build an index", "back up")):
            here = Path(place) / str(number)
            here.mkdir()
            ALL[name].prepare(here)
            ALL[name].act(here)
            look(here)


if __name__ == "__main__":
    main()
