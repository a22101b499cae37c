"""Django's debug pages, which show the settings."""

import re

from django.views.debug import SafeExceptionReporterFilter


class ExceptionReporterFilter(SafeExceptionReporterFilter):
    """Also hides the settings that are URLs, as these may hold passwords, and the keys of tokens."""

    hidden_settings = re.compile(f"{SafeExceptionReporterFilter.hidden_settings.pattern}|URL|PEPPER", re.IGNORECASE)
