"""The limits of a token hold for all of its connections together."""

from functools import partial

import pytest

from signals import actors
from signals.allowance import Quota, post
from signals.ingest import Receipt
from signals.models import Signal
from tests.kit.signals import anomaly
from tests.kit.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("quota", "expected"), [(Quota(per_minute=25, waiting=10**6), 25), (Quota(per_minute=10**6, waiting=25), 25)]
)
@pytest.mark.parametrize("size", [1, 7])
def test_posts_at_once_stay_within_the_limits_and_use_them_up(quota: Quota, expected: int, size: int) -> None:
    def agent(name: str) -> int:
        posts = [[anomaly(f"{name}-{number}-{one}") for one in range(size)] for number in range(8)]
        return sum(isinstance(one, Receipt) for batch in posts for one in post(batch, actors.token("detector"), quota))

    granted = at_once([partial(agent, f"agent{number}") for number in range(6)])

    assert sum(granted) == Signal.objects.count() == expected
