"""What this machine can do: doctor."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchx.cli.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    place,
    read_path,
)
from searchx.cli.output import print_result, stoppable

if TYPE_CHECKING:
    from indexer.checkup import Checkup


def doctor(
    folder: Annotated[
        Path | None,
        typer.Argument(
            parser=read_path,
            metavar="FOLDER",
            help="What you want to index: tells how long that would take.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine, and tell which model fits. Changes no library."""
    from indexer.checkup import check_up
    from searchx.cli.meter import Meter
    from searchx.terminal import console

    with stoppable("stopped"), Meter(console(stderr=True), "measuring") as meter:
        found = check_up(place(library), folder, model, device, meter.say)
    print_result(as_json, found.as_dict(), _lines(found))


def _lines(checkup: "Checkup") -> Iterator[str]:
    """Say what was measured of a machine."""
    from searchx.terminal import visible

    machine, pace, folder = checkup.machine, checkup.pace, checkup.folder
    yield f"machine: {machine.cores} cores, {machine.gpu or 'no GPU'}"
    yield f"memory:  {_gigabytes(machine.memory_free)} free of {_gigabytes(machine.memory)}"
    yield f"disk:    {_gigabytes(machine.disk_free)} free where the library is"
    yield f"model:   {visible(pace.model)}, computed by {visible(pace.runtime)}"
    yield f"pace:    {pace.images:,.1f} images/s, {1000 * pace.text:,.1f} ms for a query in text"
    if machine.has_half and pace.runtime == "OpenVINO":
        yield "half:    this processor has half precision: SEARCHX_PRECISION=half searchx doctor"
    yield f"cache:   {_gigabytes(checkup.cache_size)} in {visible(checkup.cache)}"
    yield "with:    " + ", ".join(f"{name} {one}" for name, one in machine.versions.items())
    if folder is not None:
        decoded = f", decoded at {folder.decoded:,.1f} images/s" if folder.decoded else ""
        yield f"folder:  {folder.pictures:,} pictures, {folder.others:,} others{decoded}"
    if checkup.forecasts:
        yield ""
        yield "indexing " + (f"{folder.pictures:,}" if folder else "10,000") + " pictures, about:"
    for one in checkup.forecasts:
        mark = "*" if one.purpose == checkup.recommended else " "
        short = "" if one.fits_memory else "  (more memory than is free)"
        yield f"{mark} {one.purpose:<13}{_lasting(one.seconds):>12}  {one.model}{short}"
    if checkup.recommended:
        yield f"* finds most within an hour: searchx index --model {checkup.recommended}"


def _lasting(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
