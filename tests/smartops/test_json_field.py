"""JSON that a person enters. The form shows any text again unchanged, and gives a reason if it refuses the text."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from smartops.admin.rules import RuleForm
from smartops.console.workload_acts import PatchForm
from smartops.json_field import JsonField


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested deeper than 32 levels"),
        ('{"a":' * 100_000, "nested deeper than 32 levels"),
        ('{"a":' * 40 + "1" + "}" * 40, "nested deeper than 32 levels"),
        ('{"delta": NaN}', "delta: NaN is not JSON."),
        ('{"delta": -Infinity}', "delta: -Infinity is not JSON."),
        ('{"delta": 1e999}', "delta: The number 1e999 is too large"),
        (f'{{"delta": {2**63}}}', "is too large: integers have 64 bits."),
        ('{"delta": ' + "9" * 5000 + "}", "is too large: integers have 64 bits."),
        (r'{"a": {"b": "\u0000"}}', "a.b: The text contains a NUL character."),
        ('{"a": "\0"}', "The text is not JSON"),
        (r'{"a": "\ud800"}', "a: The text contains an unpaired surrogate."),
        ('{"a": "\ud800"}', "The text is not UTF-8"),
        ('{"a": 1, "a": 2}', "a: The name occurs twice."),
        ("[]", "The text must be a JSON object."),
        ("1", "The text must be a JSON object."),
        ("{", "The text is not JSON"),
    ],
)
def test_what_the_api_refuses_is_refused_in_a_form(text: str, words: str) -> None:
    field = JsonField()

    with pytest.raises(ValidationError) as refused:
        field.clean(text)

    assert words in refused.value.messages[0]
    assert field.has_changed({}, text)
    assert field.prepare_value(field.bound_data(text, None)) == text


@pytest.mark.parametrize(("text", "value"), [('{"delta": 1}', {"delta": 1}), ("{}", {}), ("", None)])
def test_an_object_is_accepted(text: str, value: Any) -> None:
    assert JsonField(required=False).clean(text) == value


def test_every_form_with_json_reads_it_in_this_way() -> None:
    assert isinstance(PatchForm.base_fields["patch"], JsonField)
    assert RuleForm.Meta.field_classes == {"params": JsonField}
