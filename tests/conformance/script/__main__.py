"""python -m tests.conformance.script KUBECONFIG

Plays all scenes on this cluster and writes what it answered.
"""

import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from tests.conformance.script.player import play
from tests.conformance.script.recording import record
from tests.conformance.script.scene import SCENES
from tests.kit.client import Client


def main(kubeconfig: Path) -> None:
    recorded = {}
    for scene in SCENES:
        namespace = f"script-{scene.stem}-{uuid4().hex[:8]}"
        with closing(Client(kubeconfig, namespace)) as client:
            client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
            recorded[scene.stem] = [(step.do, answer) for step, answer in play(scene, client, namespace)]
            client.send("DELETE", f"/api/v1/namespaces/{namespace}")
    record(recorded)
    print(f"{sum(map(len, recorded.values()))} requests")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
