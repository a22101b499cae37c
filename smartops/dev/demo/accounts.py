"""`python -m smartops.dev.demo.accounts`: migrates the database and creates an administrator and an agent's token.

One process does all three, because starting Django takes most of the time. The environment holds the secrets
(ADMIN_PASSWORD, AGENT_TOKEN). The token is printed on stdout: the given one if it is still valid, else a new one.
"""

import os
import sys

import django
from django.core.management import call_command

AGENT = "demo-agent"
ADMIN = "admin"


def admin(password: str) -> None:
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username=ADMIN, defaults={"is_staff": True, "is_superuser": True})
    if not user.check_password(password):  # a new hash would end all sessions
        user.set_password(password)
        user.save()


def agent(token: str) -> str:
    from django.db.models.functions import Now

    from smartops.models import Token
    from smartops.tokens import Scope, issue, verify

    if verify(token):
        return token
    Token.objects.filter(name__startswith=AGENT, revoked_at=None).update(revoked_at=Now())
    former = Token.objects.filter(name__startswith=AGENT).count()  # a name is not used again
    return issue(f"{AGENT}-{former + 1}" if former else AGENT, Scope)


if __name__ == "__main__":
    django.setup()
    call_command("migrate", interactive=False, stdout=sys.stderr)
    admin(os.environ["ADMIN_PASSWORD"])
    print(agent(os.environ["AGENT_TOKEN"]))
