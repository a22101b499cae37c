from typing import Any

import pytest

from guardrails.explain import explain


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ({"outcome": "deny", "message": "9 are too many."}, "9 are too many."),
        ({"outcome": "not_evaluated", "message": ""}, ""),
        ({"details": {"age_seconds": 3.21, "limit_seconds": 900}}, "3.2 s old, limit 900 s"),
        ({"details": {"replicas": 4, "minimum": 1, "current": 3}}, "4 replicas, at least 1"),
        ({"details": {"replicas": None, "minimum": 1, "current": 3}}, "3 replicas, at least 1"),
        ({"details": {"rollout": "complete"}}, "no rollout in progress"),
        ({"details": {"uid": "u", "replicas": 3}}, "3 replicas, uid u"),
        ({"details": {"value": 4, "limit": 8, "current": 3}}, "4 of 8 replicas"),
        ({"details": {"value": None, "limit": 8, "current": 3}}, "3 of 8 replicas"),
        (
            {"details": {"value": 1, "wanted": 2, "limit": 3, "window_seconds": 900}},
            "+1 so far, +2 requested, limit +3 in 15 min",
        ),
        (
            {
                "guardrail": "scale_down_velocity",
                "details": {"value": 1, "wanted": 2, "limit": 3, "window_seconds": 900},
            },
            "-1 so far, -2 requested, limit -3 in 15 min",
        ),
        ({"details": {"value": 0, "limit": 6, "window_seconds": 3600}}, "0 of 6 actions in 60 min"),
        ({"details": {"kind": "Deployment"}}, "a Deployment has the changed fields"),
        ({"details": {"replicas": 3}}, "3 replicas"),
        ({"details": {"limit_seconds": 300}}, "0 s left of 300 s"),
        ({"message": "Allowed, as asked.", "details": {"fields": []}}, "Allowed, as asked."),
        ({"guardrail": "freeze"}, "no freeze in force"),
        ({"guardrail": "protected_labels", "details": {"labels": ["pci"]}}, "no protected label"),
        ({"guardrail": "mode", "details": {"mode": "auto", "source": "default"}}, "the mode is auto"),
        ({"message": "Approved.", "details": {"mode": "approve", "source": "default"}}, "Approved."),
        (
            {"details": {"value": 2, "limit": 9, "percent": 50, "percent_limit": 90, "current": 4}},
            "2 replicas would change, 50%",
        ),
        ({"guardrail": "policy"}, ""),
    ],
)  # fmt: skip
def test_a_verdict_has_words_also_where_it_allows(verdict: dict[str, Any], words: str) -> None:
    assert explain({"guardrail": "", "outcome": "allow", "message": "", "details": {}, **verdict}) == words
