"""The groups of a new installation: a member of one has the role of the same name everywhere."""

from django.db import migrations

ROLES = ("viewer", "operator", "approver", "admin")


def install(apps, _schema_editor):
    group, grant = apps.get_model("auth", "Group"), apps.get_model("smartops", "RoleGrant")
    for role in ROLES:
        members, _ = group.objects.get_or_create(name=role)
        grant.objects.get_or_create(group=members, role=role, cluster="", namespace="")


class Migration(migrations.Migration):
    """Its reverse leaves the groups: they may have members."""

    dependencies = [("smartops", "0001_initial"), ("signals", "0002_default_rules")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
