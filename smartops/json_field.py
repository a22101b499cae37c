"""A JSON object that a person enters, in a form of the console or of the admin."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput

from smartops import strict_json


class JsonField(forms.JSONField):
    """Accepts what the API accepts: an object that every parser reads alike and PostgreSQL can store."""

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or value in self.empty_values:
            return super().to_python(value)
        try:
            return strict_json.loads(value.encode(errors="surrogatepass"), "text")
        except strict_json.Malformed as error:
            path = "".join(f"{step}: " for step in (".".join(map(str, error.path)),) if step)
            raise ValidationError(f"{path}{error.message}") from None

    def bound_data(self, data: Any, initial: Any) -> Any:  # noqa: ARG002 - the signature is Field's
        """The form shows again what was entered, letter by letter."""
        return None if data is None else InvalidJSONInput(data)
