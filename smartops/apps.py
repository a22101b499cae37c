from django.apps import AppConfig


class SmartOpsConfig(AppConfig):
    name = "smartops"

    def ready(self) -> None:
        from smartops import checks  # noqa: F401 - registers them
