"""Pages of the admin, and their forms as a browser loads and sends them."""

import re
from typing import Any

from django.forms import BoundField, Form
from django.test import Client
from django.urls import reverse

from tests.kit.visitor import Visitor, text_of

Data = dict[str, Any]
Caller = Client | Visitor


def page(model: Any, name: str, *args: Any) -> str:
    """The path of a page of the admin: `changelist`, `add`, `change` and others."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def load(client: Caller, url: str) -> Data:
    """What the browser would send if nothing was changed, hidden fields included."""
    response: Any = client.get(url)
    assert response.status_code == 200
    form: Form = response.context_data["adminform"].form
    return {name: value for field in form for name, value in _inputs(field)}


def save(client: Caller, url: str, **changes: Any) -> Any:
    """Loads the form, changes some fields, and sends it. None clears a field, as an unticked box."""
    data = load(client, url) | changes
    return client.post(url, {name: value for name, value in data.items() if value is not None})


def errors(response: Any) -> dict[str, list[str]]:
    """By field; those of the form as a whole are under `__all__`."""
    assert response.status_code == 200
    return dict(response.context_data["adminform"].form.errors)


def confirm(client: Client, one: Any, action: str, **fields: str) -> Any:
    """Chooses a row in its list, and confirms on the page that follows."""
    chosen = {"action": action, "_selected_action": [one.pk]}
    asked = client.post(page(type(one), "changelist"), chosen)
    loaded = re.findall(r'name="loaded" value="(.+?)"', text_of(asked))
    return client.post(page(type(one), "changelist"), chosen | {"loaded": loaded} | fields, follow=True)


def _inputs(field: BoundField) -> list[tuple[str, Any]]:
    """The names and values that its widget renders."""
    own: Any = getattr(field.field.widget, "widget", field.field.widget)  # the admin wraps those of relations
    widget = own.get_context(field.html_name, field.value(), {}).get("widget", {})
    if "name" not in widget:  # it shows something and sends nothing
        return []
    parts = widget.get("subwidgets") or [widget]
    found: list[tuple[str, Any]] = []
    for part in parts:
        if part.get("type") == "checkbox":
            found.append((part["name"], "on" if part["attrs"].get("checked") else None))
        elif "optgroups" in part:
            chosen = [str(one["value"]) for _, group, _ in part["optgroups"] for one in group if one["selected"]]
            found.append(
                (part["name"], chosen if part["attrs"].get("multiple") or part.get("type") else "".join(chosen))
            )
        else:
            found.append((part["name"], "" if part["value"] is None else part["value"]))
    return [(name, value) for name, value in found if value is not None]
