"""The pages of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text()


def section(text: str, heading: str) -> str:
    """The text below `## heading`, up to the next heading of its depth. A comment in a block of code is no heading."""
    _, _, rest = text.partition(f"\n{heading}\n")
    end, lines, in_code = re.compile(rf"#{{1,{len(heading.split(' ')[0])}}} "), list[str](), False
    for line in rest.splitlines(keepends=True):
        if not in_code and end.match(line):
            break
        in_code ^= line.startswith("```")
        lines.append(line)
    return "".join(lines)


def first_cells(text: str) -> list[str]:
    """The code in the first column of the tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
