from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SmartOpsConfig(AppConfig):
    name = "smartops"

    def ready(self) -> None:
        from smartops import checks, privileges  # noqa: F401 - registers the checks
        from smartops.web import sign_ins  # noqa: F401 - receives Django's signals

        post_migrate.connect(privileges.grant, sender=self)  # the last of the apps: all tables exist
