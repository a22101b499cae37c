import gc

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class SmartOpsConfig(AppConfig):
    name = "smartops"

    def ready(self) -> None:
        from signals.lib import partitions, sequences
        from smartops import checks, privileges  # noqa: F401 - registers the checks
        from smartops.web import sign_ins  # noqa: F401 - receives Django's signals

        pre_migrate.connect(partitions.limit_lock_waits)
        post_migrate.connect(privileges.grant, sender=self)  # the last of the apps: all tables exist
        post_migrate.connect(sequences.advance_after_migrate, sender=self)
        post_migrate.connect(partitions.create_after_migrate, sender=self)
        # What is loaded is no garbage, and stays. manage.py has disabled the collector, which took a third of the time
        # of a short command.
        gc.freeze()
        gc.enable()
