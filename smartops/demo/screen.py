"""What the demo prints: plain lines of at most 100 columns; colour on a terminal, unless NO_COLOR is set."""

import os
import time
from pathlib import Path
from typing import Any, TextIO

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


class Screen:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._start = time.monotonic()

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and text else text

    def line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def progress(self, what: str) -> None:
        self.line(f"{self.paint(f'{time.monotonic() - self._start:7.1f} s', DIM)}  {what}")

    def stopping(self) -> None:
        self.line("stopping")

    def fail(self, text: str) -> None:
        self.line(self.paint(text, RED))

    def handles(self, handles: dict[str, Any], state: Path) -> None:
        self.line(str(handles))
