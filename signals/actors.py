"""Who did something: `kind:name`. The kind ends at the first colon and a name may contain anything, so that no name can
imitate another kind: a token called `user:ana` is `token:user:ana`."""

from enum import StrEnum
from typing import NewType

Actor = NewType("Actor", str)
MAX_LENGTH = 192  # of an actor: a user name has at most 150 characters


class ActorKind(StrEnum):
    USER = "user"  # a person who has signed in; the name is that of the account
    TOKEN = "token"  # noqa: S105 - a caller of the API; the name is that of the token
    RULE = "rule"  # the closed loop; the name is that of the rule that matched
    RECONCILER = "reconciler"  # a process that executes what others requested: its host and process id
    SYSTEM = "system"  # SmartOps itself, or its database, without anybody's request


PATTERN = f"^({'|'.join(ActorKind)}):."
"""What PostgreSQL requires of a column that holds an actor, as a regular expression."""


def user(name: str) -> Actor:
    return _actor(ActorKind.USER, name)


def token(name: str) -> Actor:
    return _actor(ActorKind.TOKEN, name)


def rule(name: str) -> Actor:
    return _actor(ActorKind.RULE, name)


def reconciler(process: str) -> Actor:
    return _actor(ActorKind.RECONCILER, process)


def system(part: str) -> Actor:
    return _actor(ActorKind.SYSTEM, part)


def parse(text: str) -> tuple[ActorKind, str]:
    """The kind and the name. Raises ValueError for a text that is no actor."""
    kind, separator, name = text.partition(":")
    if kind not in set(ActorKind) or not separator or not name:
        raise ValueError(f"“{text}” is no actor. Expected KIND:NAME with a kind of {', '.join(ActorKind)}.")
    return ActorKind(kind), name


def _actor(kind: ActorKind, name: str) -> Actor:
    if not name:
        raise ValueError(f"An actor of the kind {kind} needs a name.")
    return Actor(f"{kind}:{name}")
