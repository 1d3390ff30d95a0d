"""argparse with one-line errors and with types that say what they expect."""

import argparse
import sys
from typing import NoReturn, TypeAlias

from galerne.cli.exits import USAGE

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - its only name # pyright: ignore[reportPrivateUsage]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and leaves the help to `--help`."""

    def error(self, message: str) -> NoReturn:
        text = " ".join(message.split())
        sys.stderr.write(f"galerne: {text} (see `{self.prog} --help`)\n")
        raise SystemExit(USAGE)


def positive(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def not_negative_count(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == "0" else positive(text)


def port(text: str) -> int:
    """A TCP port; 0 stands for a free one."""
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):  # noqa: PLR2004 - the last
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def not_negative(text: str) -> float:
    """A finite number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def duration(text: str) -> float:
    """Seconds above 0: `30`, `90s`, `10m`, `2h`, `3d`."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _SECONDS else (text, "s")
    try:
        value = float(number) * _SECONDS[unit]
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 10m, 2h or 3d")
    return value


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
