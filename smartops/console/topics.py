"""Which changes concern which screen. A screen that is not here fetches itself after every change that its reader may
see."""

from collections.abc import Mapping

from smartops.console import actions, overview, signals
from smartops.console.live import Changed, Fetched, Live, Page, Rows, Shared, Update
from smartops.people.access import Access

OTHERS = Fetched(("action", "signal", "setting"))
SCREENS: Mapping[str, Live] = {  # by the name of the URL
    "overview": Shared(("action", "signal", "setting"), overview.parts),
    "signals": Rows("signal", "console/signal_row.html", signals.passing),
    "actions": Rows("action", "console/action_row.html", actions.passing),
    "action": Fetched(("action", "setting"), of="pk"),
    "signal": Fetched(("signal", "action", "setting"), of="pk"),
    "workloads": Fetched(("workload", "action", "setting")),
    "workload": Fetched(("workload", "action", "setting")),
}


def update(page: Page, access: Access, changed: Changed) -> Update | None:
    """What the page is sent after a burst. Pages with the same address and the same access share it."""
    return SCREENS.get(page.name, OTHERS).update(page, access, changed)


def is_costly(page: Page) -> bool:
    """Whether its update takes many queries: those of others are sent first."""
    return isinstance(SCREENS.get(page.name), Shared)
