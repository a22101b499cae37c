"""The passkeys of local accounts: how they are stored, and used. webauthn.py says what an answer of a browser must be.
A passkey is a second factor (second_factor.py), and signs in without a password. (docs/adr/0063-passkeys.md)
"""

from datetime import datetime

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Now

from signals.lib import triggers
from smartops.people.keys import MAX_ID, Key
from smartops.people.second_factor import SecondFactor, get_or_create_locked
from smartops.people.sessions import ends_sessions

MAX_PASSKEYS = 20  # of an account
LONGEST_NAME = 64


class Passkey(models.Model):
    """`credential_id`: by which an answer names it. `credential`: the id and the public key, as the authenticator gave
    them. `host`: of the site that it is for. `signatures`: the authenticator's counter, 0 if it does not count.
    `last_used_at`: when the last challenge that it signed was made; it only grows, so a challenge is used once."""

    second_factor = models.ForeignKey(SecondFactor, on_delete=models.CASCADE, related_name="passkeys")
    name = models.CharField(max_length=LONGEST_NAME)
    host = models.CharField(max_length=253)
    credential_id = models.BinaryField(max_length=MAX_ID, unique=True)
    credential = models.BinaryField()
    signatures = models.PositiveBigIntegerField()
    made_at = models.DateTimeField("added at", db_default=Now())
    last_used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "passkey"
        triggers = [
            *triggers.recorded(secrets=("credential_id", "credential"), volatile=("signatures", "last_used_at")),
            ends_sessions("OLD.second_factor_id"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.second_factor.user}"

    @property
    def user(self) -> User:
        return self.second_factor.user

    @property
    def key(self) -> Key:
        credential, handle = bytes(self.credential), bytes(self.second_factor.handle)
        return Key(bytes(self.credential_id), credential, handle, self.host, self.signatures)


def passkeys_of(user: User) -> "models.QuerySet[Passkey]":
    return Passkey.objects.filter(second_factor=user.pk).order_by("made_at", "pk")


def find(credential_id: bytes) -> Passkey | None:
    return Passkey.objects.select_related("second_factor__user").filter(credential_id=credential_id).first()


def add(user: User, key: Key, name: str) -> list[str]:
    """Returns the recovery codes that were made: the first factor of an account makes them. Raises ValidationError."""
    try:
        with transaction.atomic():
            row, codes = get_or_create_locked(user, handle=key.handle)
            if bytes(row.handle) != key.handle:
                raise ValidationError("Another second factor was set up at the same time. Start again.")
            if row.passkeys.count() >= MAX_PASSKEYS:
                raise ValidationError(f"Your account has {MAX_PASSKEYS} passkeys. Remove one first.")
            row.passkeys.create(
                name=name, host=key.host, credential_id=key.id, credential=key.credential, signatures=key.signatures
            )
    except IntegrityError:
        raise ValidationError("This passkey is already registered.") from None
    return codes


def use(passkey: Passkey, signatures: int, challenged_at: datetime) -> bool:
    """Of two requests with one answer, the second finds the time of the first. False: it was used, or removed."""
    unused = models.Q(last_used_at=None) | models.Q(last_used_at__lt=challenged_at)
    same = Passkey.objects.filter(unused, pk=passkey.pk, signatures=passkey.signatures)
    return bool(same.update(signatures=signatures, last_used_at=challenged_at))


def remove(passkey: Passkey) -> None:
    """The recovery codes end with the last factor. The row of the account is locked first, as where an app is removed:
    of two requests that remove the last two factors, the second finds none left."""
    with transaction.atomic():
        account = SecondFactor.objects.select_for_update(of=("self",)).filter(pk=passkey.second_factor_id)
        for row in account:
            passkey.delete()
            if not row.secret and not row.passkeys.exists():
                row.delete()
