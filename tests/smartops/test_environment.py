"""Each reader of the environment parses what it accepts, and rejects everything else with a message that helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from smartops.environment import env, env_bool, env_choice, env_float, env_int, env_list, env_postgresql

Reader = Callable[[str], Any]
SECRET = "postgresql://smartops:hunter2"  # noqa: S105


def level(name: str) -> str:
    return env_choice(name, "INFO", ["DEBUG", "INFO"])


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (env, "text", "text"),
        (env_list, "a, b,,c ", ["a", "b", "c"]),
        (env_list, " , ", []),
        *((env_bool, text, True) for text in ("1", "true", "True", "TRUE", "yes", "On")),
        *((env_bool, text, False) for text in ("0", "false", "False", "NO", "off")),
        (lambda name: env_int(name, 7), "20", 20),
        (lambda name: env_int(name, 7), "-1", -1),
        (lambda name: env_float(name, 7), "0.5", 0.5),
        (lambda name: env_float(name, 7), "3", 3.0),
        (level, "DEBUG", "DEBUG"),
        (level, "debug", "DEBUG"),
        (env_postgresql, f"{SECRET}@db:5432/smartops", f"{SECRET}@db:5432/smartops"),
        (env_postgresql, "postgres:///smartops", "postgres:///smartops"),
        (env_postgresql, f"{SECRET}@[fd00::1]:5433/smartops", f"{SECRET}@[fd00::1]:5433/smartops"),
    ],
)
def test_a_reader_parses_what_it_accepts(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, text: str, value: object
) -> None:
    monkeypatch.setenv("SMARTOPS_X", text)

    assert reader("SMARTOPS_X") == value


@pytest.mark.parametrize(
    ("reader", "text", "accepted"),
    [
        (env_bool, "2", "1, true, yes, on, 0, false, no, off"),
        (env_bool, "ja", "1, true, yes, on, 0, false, no, off"),
        (lambda name: env_int(name, 7), "7.5", "an integer"),
        (lambda name: env_int(name, 7), "many", "an integer"),
        (lambda name: env_float(name, 7), "2s", "a number"),
        (lambda name: env_float(name, 7), "nan", "a finite number"),
        (lambda name: env_float(name, 7), "inf", "a finite number"),
        (level, "LOUD", "DEBUG, INFO"),
    ],
)
def test_a_reader_rejects_with_the_name_the_value_and_what_it_accepts(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, text: str, accepted: str
) -> None:
    monkeypatch.setenv("SMARTOPS_X", text)

    with pytest.raises(ImproperlyConfigured) as rejected:
        reader("SMARTOPS_X")
    assert f"SMARTOPS_X={text!r}" in str(rejected.value)
    assert accepted in str(rejected.value)


@pytest.mark.parametrize(
    "text", [f"{SECRET}/3@db/smartops", "mysql://root:hunter2@db/x", "hunter2", f"{SECRET}@db:x/y", "http://[hunter2"]
)
def test_a_database_url_that_is_rejected_is_not_shown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DATABASE_URL", text)

    with pytest.raises(ImproperlyConfigured) as rejected:
        env_postgresql("DATABASE_URL")
    assert "DATABASE_URL is not a PostgreSQL URL" in str(rejected.value)
    assert "hunter2" not in str(rejected.value)
    assert rejected.value.__cause__ is rejected.value.__context__ is None


@pytest.mark.parametrize("text", [None, ""])
@pytest.mark.parametrize(
    ("reader", "default"),
    [
        (lambda name: env(name, "default"), "default"),
        (lambda name: env_list(name, "a,b"), ["a", "b"]),
        (env_bool, False),
        (lambda name: env_bool(name, True), True),
        (lambda name: env_int(name, 7), 7),
        (lambda name: env_float(name, 7), 7.0),
        (level, "INFO"),
        (env_postgresql, ""),
    ],
)
def test_a_variable_that_is_not_set_or_empty_gives_the_default(
    monkeypatch: pytest.MonkeyPatch, text: str | None, reader: Reader, default: object
) -> None:
    if text is None:
        monkeypatch.delenv("SMARTOPS_X", raising=False)
    else:
        monkeypatch.setenv("SMARTOPS_X", text)

    assert reader("SMARTOPS_X") == default


def test_a_file_holds_the_value_of_any_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "value"
    secret.write_text("true\n")
    monkeypatch.setenv("SMARTOPS_X", "no")
    monkeypatch.setenv("SMARTOPS_X_FILE", str(secret))

    assert env("SMARTOPS_X") == "true"
    assert env_bool("SMARTOPS_X") is True


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file or directory"), (b"", "is empty"), (b" \n", "is empty"), (b"\xff", "not UTF-8")],
)
def test_a_file_that_gives_no_value_is_an_error_and_not_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, message: str
) -> None:
    secret = tmp_path / "value"
    if content is not None:
        secret.write_bytes(content)
    monkeypatch.setenv("SMARTOPS_X_FILE", str(secret))

    with pytest.raises(ImproperlyConfigured, match=message) as rejected:
        env("SMARTOPS_X", "default")
    assert "SMARTOPS_X_FILE" in str(rejected.value)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_reader_raises_nothing_but_improperly_configured(text: str) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SMARTOPS_X", text)
        for reader in (env_bool, lambda name: env_int(name, 7), lambda name: env_float(name, 7), level, env_postgresql):
            try:
                reader("SMARTOPS_X")
            except ImproperlyConfigured as rejected:
                assert "SMARTOPS_X" in str(rejected)  # noqa: PT017 - either outcome is right
