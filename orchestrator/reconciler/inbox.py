"""The answers of the pool that no verb has taken up yet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.reconciler.calls import Answer, Candidate, Confirmation, Reading, Rehearsal


@dataclass(slots=True)
class Inbox:
    candidates: list[Candidate] = field(default_factory=list)  # for admit
    readings: list[Reading] = field(default_factory=list)  # for dispatch
    answers: list[Answer] = field(default_factory=list)  # for settle
    confirmations: list[Confirmation] = field(default_factory=list)  # for verify
    rehearsals: list[Rehearsal] = field(default_factory=list)  # of what waits for an approval

    def take_in(self, arrived: Iterable[Any]) -> None:
        for one in arrived:
            match one:
                case Candidate():
                    self.candidates.append(one)
                case Reading():
                    self.readings.append(one)
                case Answer():
                    self.answers.append(one)
                case Confirmation():
                    self.confirmations.append(one)
                case Rehearsal():
                    self.rehearsals.append(one)

    def take_unclear(self, is_unclear: Callable[[Answer], bool]) -> list[Answer]:
        """The answers that say too little to be recorded."""
        unclear = [one for one in self.answers if is_unclear(one)]
        self.answers = [one for one in self.answers if one not in unclear]
        return unclear
