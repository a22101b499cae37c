"""An Interruption ends the blocked read of a watch, whether it is set during the read or was set before."""

from orchestrator.k8s.interruption import Interruption


def test_a_stop_interrupts_what_is_under_way_and_nothing_that_has_ended() -> None:
    stop, interrupted = Interruption(), list[str]()
    with stop.interrupting(lambda: interrupted.append("ended")):
        pass
    with stop.interrupting(lambda: interrupted.append("one")), stop.interrupting(lambda: interrupted.append("other")):
        stop.set()

    assert sorted(interrupted) == ["one", "other"]


def test_what_begins_after_a_stop_is_interrupted_at_once() -> None:
    stop, interrupted = Interruption(), list[str]()
    stop.set()

    with stop.interrupting(lambda: interrupted.append("late")):
        assert interrupted == ["late"]
