"""What is stored of a passkey. Pure, and without the library that verifies it: a reconciler loads the models, too."""

from dataclasses import dataclass

HANDLE = 32  # bytes
MAX_ID = 1023  # bytes, as the specification has it


@dataclass(frozen=True, slots=True)
class Key:
    """`id`: by which an answer names it. `credential`: the id with the public key, as the authenticator gave them.
    `handle`: by which authenticators know the account. `host`: of the site. `signatures`: the counter of the last one
    that was believed; some authenticators do not count."""

    id: bytes
    credential: bytes
    handle: bytes
    host: str
    signatures: int
