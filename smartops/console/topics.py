"""Which changes concern which screen. A screen that is not here fetches itself after every change that its reader may
see."""

from collections.abc import Collection, Iterable, Mapping

from smartops.console import actions, overview, signals
from smartops.console.live import Changed, Fetched, Live, Page, Rows, Shared, Update
from smartops.people.access import Access
from smartops.web.notifications import Row

OTHERS = Fetched(("action", "signal", "setting"))
SCREENS: Mapping[str, Live] = {  # by the name of the URL
    "overview": Shared(("action", "signal"), overview.parts),
    "signals": Rows("signal", "console/signal_row.html", signals.passing),
    "actions": Rows("action", "console/action_row.html", actions.passing),
    "action": Fetched(("action", "setting"), of="pk"),
    "signal": Fetched(("signal", "action", "setting"), of="pk"),
    "workloads": Fetched(("workload", "action", "setting")),
    "workload": Fetched(("workload", "action", "setting")),
}


def updates(
    pages: Iterable[tuple[Page, Access]], rows: Collection[Row] | None
) -> dict[tuple[Page, Access], Update | None]:
    """What each page is sent after a burst. Pages with the same address and the same access share it."""
    changed = Changed(rows)
    return {(page, access): SCREENS.get(page.name, OTHERS).update(page, access, changed) for page, access in pages}
