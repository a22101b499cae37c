"""JSON that a person enters."""

import re
from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput

MAX_DEPTH = 32
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class JsonField(forms.JSONField):
    """Refuses what PostgreSQL cannot store, and what is nested more deeply than any object of Kubernetes."""

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
            texts = list(_texts(found, 0))
        except RecursionError:
            raise ValidationError(f"The JSON is nested more than {MAX_DEPTH} levels deep.") from None
        if any(_UNSTORABLE.search(one) for one in texts):
            raise ValidationError("The JSON has a null character, or half of a surrogate pair.")
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:  # noqa: ARG002 - the signature is Field's
        """The form shows again what was entered, letter by letter."""
        return None if data is None else InvalidJSONInput(data)


def _texts(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(one, depth + 1)
