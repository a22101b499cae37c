"""The output of the demo: lines of at most 100 columns; with colour on a terminal, unless NO_COLOR is set."""

import json
import os
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

WIDTH = 100
BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
EVENT, DETAIL = 22, 14  # the columns at which their texts begin


class Screen:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._start = time.monotonic()

    def line(self, text: str = "") -> None:
        try:
            print(text, file=self._stream, flush=True)
        except OSError:  # the reader has closed the pipe; the demo continues until it gets a signal
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())

    def progress(self, what: str) -> None:
        """A step of the start, with the seconds since its beginning."""
        self.line(f"{self._paint(f'{time.monotonic() - self._start:6.1f} s', DIM)}  {what}")

    def heading(self, text: str) -> None:
        self.line()
        self.line(self._paint(text, BOLD))

    def quote(self, what: str, document: dict[str, Any]) -> None:
        """A request with its body."""
        self.line(f"  {what}")
        together = json.dumps(document).replace('": ', '":\N{NO-BREAK SPACE}')
        for line in _wrap(together, WIDTH, "  ", "   "):
            self.line(self._paint(line.replace("\N{NO-BREAK SPACE}", " "), DIM))
        self.line()

    def event(self, seconds: float, what: str, text: str, colour: str = "") -> None:
        """`seconds` since the post."""
        first, *more = _wrap(text, WIDTH - EVENT)
        self.line(f"{self._paint(f'{seconds:+8.3f} s', DIM)}  {self._paint(f'{what:<9}', colour or BOLD)} {first}")
        for line in more:
            self.line(" " * EVENT + line)

    def detail(self, label: str, text: str) -> None:
        """Below an event."""
        start = f"{' ' * DETAIL}{label}"
        for line in _wrap(text, WIDTH, start, " " * len(start)):
            self.line(self._paint(line.rstrip(), DIM))

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        for name, value in rows:
            self.line(f"  {name:<9} {value}")

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and text else text


def _wrap(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """At least one line; `first` and `others` begin them. Nobody can copy a uid or a command that ends at a hyphen."""
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    return lines or [first]
