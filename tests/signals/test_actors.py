"""Actors: `kind:name`, made and parsed in one place."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from signals import actors
from signals.actors import Actor, ActorKind
from signals.models import Rule
from smartops.models import Token

MAKERS: dict[ActorKind, Callable[[str], Actor]] = {
    ActorKind.USER: actors.user,
    ActorKind.TOKEN: actors.token,
    ActorKind.RULE: actors.rule,
    ActorKind.RECONCILER: actors.reconciler,
    ActorKind.SYSTEM: actors.system,
}
KINDS = st.sampled_from(ActorKind)
NAMES = st.one_of(
    st.text(min_size=1, max_size=150),
    st.builds("{}:{}".format, KINDS, st.text(max_size=20)),  # names that look like an actor
)


@pytest.mark.parametrize("kind", ActorKind)
def test_the_name_of_an_actor_may_have_the_form_of_an_actor(kind: ActorKind) -> None:
    assert actors.parse(MAKERS[kind]("user:ana")) == (kind, "user:ana")


@given(KINDS, NAMES)
def test_an_actor_is_parsed_to_the_kind_and_the_name_that_it_was_made_of(kind: ActorKind, name: str) -> None:
    assert actors.parse(MAKERS[kind](name)) == (kind, name)


@given(KINDS, NAMES, KINDS, NAMES)
def test_actors_of_two_kinds_are_never_equal(one: ActorKind, first: str, other: ActorKind, second: str) -> None:
    assert (MAKERS[one](first) == MAKERS[other](second)) == ((one, first) == (other, second))


@pytest.mark.parametrize("text", ["", "admin", "user", "user:", ":ana", "User:ana", " user:ana", "robot:ana"])
def test_a_text_without_a_known_kind_and_a_name_is_no_actor(text: str) -> None:
    assert not re.match(actors.PATTERN, text), "PostgreSQL would store it"
    with pytest.raises(ValueError, match="is no actor"):
        actors.parse(text)


@pytest.mark.parametrize("kind", ActorKind)
def test_an_actor_has_a_name(kind: ActorKind) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        MAKERS[kind]("")


def test_the_pattern_of_the_database_accepts_each_kind() -> None:
    assert all(re.match(actors.PATTERN, make("ana")) for make in MAKERS.values())


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (actors.user, User._meta.get_field("username").max_length),
        (actors.token, Token._meta.get_field("name").max_length),
        (actors.rule, Rule._meta.get_field("name").max_length),
        (actors.reconciler, 64 + len("/4194304")),  # HOST_NAME_MAX and pid_max of Linux
    ],
)
def test_the_longest_names_fit_the_columns_of_actors(make: Callable[[str], Actor], names: int) -> None:
    assert len(make("n" * names)) <= actors.MAX_LENGTH
