from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SmartOpsConfig(AppConfig):
    name = "smartops"

    def ready(self) -> None:
        from smartops import checks, privileges  # noqa: F401 - registers the checks

        post_migrate.connect(privileges.grant, sender=self)  # the last of the apps: all tables exist
