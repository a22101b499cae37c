from pathlib import Path

import pytest

from tests.conformance.client import Client
from tests.conformance.script.player import play
from tests.conformance.script.recording import recorded
from tests.conformance.script.scene import SCENES


@pytest.mark.usefixtures("simulated_kubelet")
@pytest.mark.parametrize("scene", SCENES, ids=[scene.stem for scene in SCENES])
def test_each_answer_is_the_recorded_one(scene: Path, http: Client, namespace: str) -> None:
    played = [(step.do, answer) for step, answer in play(scene, http, namespace)]
    expected = recorded(scene.stem)
    assert [do for do, _ in played] == [do for do, _ in expected], "the scene has changed: record it anew"
    differences = [
        f"{number}. {do}\n    recorded {then}\n    here     {now}"
        for number, ((do, now), (_, then)) in enumerate(zip(played, expected, strict=True), start=1)
        if now != then
    ]
    assert not differences, "\n" + "\n".join(differences)
