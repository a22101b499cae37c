"""Addresses of the console's pages, for what leaves the system: Events and answers of the API.

`console` is SMARTOPS_CONSOLE_URL; without it, there is no address. An address has an id and nothing else. Its page
opens after a sign-in, to those who may see the object.

A reconciler does not load the URLs of the web process, so the paths are written here.
tests/orchestrator/publish/test_kubernetes.py compares them with the pages.
"""

from uuid import UUID

from orchestrator.models import Action, ActionState


def to_action(console: str, pk: UUID, *, waits: bool = False) -> str:
    """`waits`: for an approval. Its page is the one on which persons decide."""
    return f"{console}/{'approvals' if waits else 'actions'}/{pk}/" if console else ""


def to_signal(console: str, pk: UUID) -> str:
    return f"{console}/signals/{pk}/" if console else ""


def of_action(console: str, action: Action) -> str:
    return to_action(console, action.pk, waits=action.state == ActionState.AWAITING_APPROVAL)
