"""A preview of a change of settings while it is computed."""

import uuid_utils.compat as uuids
from django.db import models
from django.db.models.functions import Now

from signals import actors


class Preview(models.Model):
    """One for each person. Its page asks for one step after the other (`orchestrator.what_if.preview`), and each web
    process can take the next one. Nothing continues it without its page.

    `edits`: `[{"table": str, "before": {…} | null, "after": {…} | null}]`, as guardrails.what_if.types.Edit. `position`
    is the last decision that was evaluated. `state` and `result` are `State` and `Result` of
    orchestrator/what_if/preview.py as JSON; the text of `state` is parsed once, into its values.
    """

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    owner = models.CharField(max_length=actors.MAX_LENGTH, unique=True)
    edits = models.JSONField()
    since = models.DateTimeField()
    until = models.DateTimeField(db_default=Now())
    position = models.UUIDField(null=True)
    state = models.TextField(default="{}")
    result = models.JSONField(default=dict)
    touched_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"preview of {self.owner}"
