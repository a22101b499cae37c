from pathlib import Path

import pytest

from tests.conformance.script.player import play
from tests.conformance.script.recording import recorded
from tests.conformance.script.scene import SCENES, Step
from tests.kit.client import Client, Object


@pytest.mark.usefixtures("simulated_kubelet")
@pytest.mark.parametrize("scene", SCENES, ids=[scene.stem for scene in SCENES])
def test_each_answer_is_the_recorded_one(scene: Path, http: Client, namespace: str) -> None:
    played, expected = list(play(scene, http, namespace)), recorded(scene.stem)
    assert [step.do for step, _ in played] == [do for do, _ in expected], "the scene has changed: record it anew"
    differences = [
        difference(number, step, then, now)
        for number, ((step, now), (_, then)) in enumerate(zip(played, expected, strict=True), start=1)
        if now != then
    ]
    assert not differences, "\n" + "\n".join(differences)


def test_the_script_is_long() -> None:
    assert sum(len(recorded(scene.stem)) for scene in SCENES) >= 200


def difference(number: int, step: Step, then: Object, now: Object) -> str:
    """What is not the same in two answers, and what was asked."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    one, other = ({name: answer[name] for name in names if name in answer} for answer in (then, now))
    return f"{number}. {step.do} {step.edit or step.body or ''}\n    recorded {one}\n    here     {other}"
