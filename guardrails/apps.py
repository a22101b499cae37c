from django.apps import AppConfig


class GuardrailsConfig(AppConfig):
    name = "guardrails"

    def ready(self) -> None:
        from guardrails.rules import exceeded_limit
        from signals.models import Rule

        if exceeded_limit not in Rule.checks:
            Rule.checks.append(exceeded_limit)
