"""Which role a person or a group has, and where. As a RoleBinding in Kubernetes, a grant adds rights and takes none."""

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from signals.lib import triggers
from signals.names import name_problems
from smartops.people.roles import Place, Role


class RoleGrant(models.Model):
    """A role for an account, or for the members of a group. An empty cluster or namespace means all of them."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="role_grants")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="role_grants")
    role = models.CharField(max_length=16, choices=[(one.value, one.value) for one in Role])
    cluster = models.CharField(max_length=63, blank=True, help_text="Empty: all clusters.")
    namespace = models.CharField(max_length=63, blank=True, help_text="Empty: all namespaces.")
    # Given by the groups of an OpenID sign-in (smartops/oidc/accounts.py), which replaces such rows and no others.
    from_claims = models.BooleanField("from the OpenID provider", default=False, db_default=False, editable=False)

    class Meta:
        ordering = ["group__name", "user__username", "cluster", "namespace", "role"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, group__isnull=False) | Q(user__isnull=False, group=None),
                name="role_grant_has_one_subject",
                violation_error_message="Choose an account or a group, and not both.",
            ),
            models.UniqueConstraint(
                fields=["user", "role", "cluster", "namespace", "from_claims"], name="one_role_grant_of_user"
            ),
            models.UniqueConstraint(fields=["group", "role", "cluster", "namespace"], name="one_role_grant_of_group"),
        ]
        triggers = triggers.recorded()

    def __str__(self) -> str:
        subject = f"group {self.group}" if self.group_id else f"account {self.user}"
        return f"{self.role} for {subject} in {self.place.words}"

    @property
    def place(self) -> Place:
        return Place(self.cluster, self.namespace)

    def clean(self) -> None:
        if problems := name_problems(cluster=self.cluster, namespace=self.namespace):
            raise ValidationError(problems)
