"""What people do: settle, cancel and retry actions, freeze and lift, clear cooldowns, request direct actions.

The console and the admin call these functions. Each does its work in one transaction, under the name of the person, and
returns Done or NotDone. The caller checks that the person has the right to it (smartops/people/access.py).
"""

from orchestrator.acts.types import Done, NotDone, Outcome, WhyNot

__all__ = ["Done", "NotDone", "Outcome", "WhyNot"]
