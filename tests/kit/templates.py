"""What Django's test client knows of the templates that answered a request.

It copies the context of each: a form of the admin has hundreds of widgets, and a template for each of them. The tests
ask for what the page was given.
"""

import pytest
from django.template import Context, RequestContext, Template
from django.test.signals import template_rendered
from django.utils.safestring import SafeString


def signal_pages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Template, "_render", _render)


def _render(template: Template, context: Context) -> SafeString:
    if isinstance(context, RequestContext) and context.template is template:
        template_rendered.send(sender=template, template=template, context=context)
    return template.nodelist.render(context)
