"""The body of a report on a page. It may have a megabyte, of which the beginning is loaded."""

import json

from django.db.models import TextField
from django.db.models.functions import Cast, Left

MAX_PAYLOAD = 16_384  # characters


def beginning(column: str) -> Left:
    """An expression for `annotate`; `column` is deferred."""
    return Left(Cast(column, TextField()), MAX_PAYLOAD + 1)


def shown(beginning: str | None) -> str:
    """With line breaks; the beginning of one that is too long to be read."""
    if not beginning:
        return ""
    if len(beginning) > MAX_PAYLOAD:
        return f"{beginning[:MAX_PAYLOAD]}… (the first {MAX_PAYLOAD} characters; the API has the rest)"
    return json.dumps(json.loads(beginning), indent=2, ensure_ascii=False)
