"""Fits that go wrong for pictures of certain colours, as decoders do: for real, in the worker."""

import os
import signal
import time
from dataclasses import dataclass
from typing import NoReturn

from PIL import Image

from searchx.fitting import Fitting
from searchx.records import Pixels

GOOD = (10, 20, 30)
SEGFAULT = (255, 0, 0)
ABORT = (254, 0, 0)
EXIT = (253, 0, 0)
KILLED = (252, 0, 0)
HANG = (0, 255, 0)
GREEDY = (0, 0, 255)
NOISY = (0, 254, 0)
WRONG = (0, 253, 0)
SECOND = (0, 0, 254)  # crashes a process that has fitted pictures before
GREEDY_SECOND = (0, 0, 253)

_fitted = 0


@dataclass(frozen=True)
class Troubled:
    """Fits a picture to 16 x 16 pixels, unless its colour asks for trouble."""

    side: int = 16

    def __call__(self, image: Image.Image) -> Pixels:
        global _fitted
        _fitted += 1
        colour = image.getpixel((0, 0))
        assert isinstance(colour, tuple)
        _make_trouble(colour)
        return Fitting((16, 16), "squash", "box")(image)


@dataclass(frozen=True)
class Unloadable:
    """Can be pickled, but not loaded in another process."""

    side: int = 16

    def __call__(self, image: Image.Image) -> NoReturn:
        raise NotImplementedError

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return _load_here_only, (os.getpid(),)


def _load_here_only(home: int) -> Unloadable:
    if os.getpid() != home:
        raise ImportError("no module named resizer")
    return Unloadable()


def _make_trouble(colour: tuple[int, ...]) -> None:
    if colour == SEGFAULT or (colour == SECOND and _fitted > 1):
        os.kill(os.getpid(), signal.SIGSEGV)
    elif colour == ABORT:
        os.abort()
    elif colour == EXIT:
        os._exit(3)
    elif colour == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    elif colour == HANG:
        time.sleep(600)
    elif colour == GREEDY or (colour == GREEDY_SECOND and _fitted > 1):
        bytearray(16 << 30)
    elif colour == NOISY:
        os.write(1, b"noise\n" * 1000)
        os.write(2, b"noise\n" * 1000)
        print("noise")
    elif colour == WRONG:
        raise ValueError("this picture cannot be fitted\nat all")
