"""What the loop makes of signals and workloads that nobody made for it.

python -m benchmarks.first_input --anomalies FILE --causes FILE --manifest FILE

FILEs: a detector's lines (`file`, `timestamp`, `anomaly_score`, and the truth as `in_labelled_window`), a JSON list of
root causes (`id`, `service`, `fault_class`, `timestamp`), and Kubernetes manifests. The n-th metric file, and the n-th
service, by name, stands for the n-th Deployment of the manifests. All is posted in its order of time, twice: in a
burst, and then, from the beginning, each after the loop has come to rest.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.http import Connection
from benchmarks.referee import excesses, writes
from benchmarks.servers import Servers, Web, clean, database

NAMESPACE = "boutique"
KINDS = {"cpu": "resource", "memory": "resource", "latency": "latency", "error": "error"}
REST_WITHIN = 60.0  # seconds

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Post:
    path: str
    body: Json
    labelled: bool | None = None  # whether the truth knows of it; None where all is truth

    @property
    def window(self) -> str:
        return str(self.body["windowId"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.first_input", description=(__doc__ or "").partition("\n")[0])
    for name in ("anomalies", "causes", "manifest"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    manifests = [one for one in yaml.safe_load_all(options.manifest.read_text()) if one]
    for one in manifests:
        one["metadata"]["namespace"] = NAMESPACE
    workloads = sorted(one["metadata"]["name"] for one in manifests if one["kind"] == "Deployment")
    lines = [json.loads(line) for line in options.anomalies.read_text().splitlines()]
    posts = [*anomalies(lines, workloads), *causes(json.loads(options.causes.read_text()), workloads)]
    with database() as (directory, url):
        for mode in ("in a burst", "each at rest"):
            with Servers(directory, url) as servers:
                print(f"\n{mode}: {len(lines)} anomalies, {len(posts) - len(lines)} causes, {len(workloads)} workloads")
                for what, value in run(servers, manifests, posts, paced=mode == "each at rest"):
                    print(f"  {what:<44} {value}", flush=True)
            clean(url)


def anomalies(lines: Iterable[Json], workloads: list[str]) -> Iterator[Post]:
    ordered = sorted(lines, key=lambda line: (line["timestamp"], line["file"]))
    of_file = dict(zip(sorted({line["file"] for line in ordered}), workloads, strict=False))
    for line in ordered:
        body = {
            "windowId": f"{line['file']}@{line['timestamp']}",
            "namespace": NAMESPACE,
            "service": of_file[line["file"]],
            "isAnomaly": True,
            "score": line["anomaly_score"],
            "type": next((type_ for word, type_ in KINDS.items() if word in line["file"]), "other"),
            "metadata": {"value": line["value"], "threshold": line["threshold"]},
        }
        yield Post("/v1/signals/anomaly", body, line["in_labelled_window"])


def causes(records: Iterable[Json], workloads: list[str]) -> Iterator[Post]:
    """They are labels, made by people: certain."""
    ordered = sorted(records, key=lambda record: (record["timestamp"], record["id"]))
    of_service = dict(zip(sorted({record["service"] for record in ordered}), workloads, strict=False))
    for record in ordered:
        cause = {"svc": of_service[record["service"]], "cause": record["fault_class"], "probability": 1.0}
        body = {"windowId": record["id"], "namespace": NAMESPACE, "rankedCauses": [cause], "confidence": 1.0}
        yield Post("/v1/signals/rca", body)


def run(servers: Servers, manifests: list[Json], posts: list[Post], *, paced: bool) -> Iterator[tuple[str, object]]:
    from benchmarks.ingest import token
    from orchestrator.models import Action, DecisionRecord
    from signals.models import Observation, Signal

    sandbox, web = servers.sandbox(manifests), servers.web()
    servers.reconciler(sandbox)
    headers = token("first input")
    answers = _post(web, headers, posts, paced)
    before = (Observation.objects.count(), Signal.objects.count(), Action.objects.count(), len(writes(sandbox)))
    yield "posted", len(posts)
    yield "stored", before[0]
    yield "duplicates", sum(answer["duplicate"] for answer in answers)
    yield "episodes", before[1]
    yield "acted on", _counted(Action.objects.values_list("type", "state"))
    yield "signals by state and reason", _counted(Signal.objects.values_list("source", "state", "reason"))
    yield "decisions", _counted(DecisionRecord.objects.filter(phase="admit").values_list("outcome", "reason"))
    labelled = {post.window: post.labelled for post in posts}
    acted = Signal.objects.filter(actions__isnull=False)
    truth = Counter(labelled[signal.observations.earliest("pk").window_id] for signal in acted)
    yield "acted inside of labelled windows", truth[True]
    yield "acted outside of labelled windows", truth[False]
    yield "acted on labelled causes", truth[None]
    lost = {post.window for post in posts} - set(Observation.objects.values_list("window_id", flat=True))
    yield "check: nothing is lost", sorted(lost) or "yes"
    yield "check: no limit is exceeded", excesses(manifests, writes(sandbox)) or "yes"

    answers = _post(web, headers, posts, paced=False)
    after = (Observation.objects.count(), Signal.objects.count(), Action.objects.count(), len(writes(sandbox)))
    fresh = sum(not answer["duplicate"] for answer in answers)
    yield "check: a replay changes nothing", "yes" if (after, fresh) == (before, 0) else f"{before} → {after}, {fresh}"


def _post(web: Web, headers: dict[str, str], posts: list[Post], paced: bool) -> list[Json]:
    answers = []
    with Connection(web.address, headers) as client:
        for post in posts:
            answers.append(json.loads(client.post(post.path, json.dumps(post.body).encode())))
            if paced:
                _rest()
    _rest()
    return answers


def _rest() -> None:
    """Until nothing is due, and no action is under way."""
    from django.db.models.functions import Now

    from orchestrator.models import ACTIVE, Action
    from signals.models import Signal

    deadline = time.monotonic() + REST_WITHIN
    while (
        Signal.objects.filter(state="pending", not_before__lte=Now()).exists()
        or Action.objects.filter(state__in=ACTIVE).exists()
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the loop did not come to rest within {REST_WITHIN:.0f} s")
        time.sleep(0.05)


def _counted(rows: Iterable[tuple[str, ...]]) -> str:
    return ", ".join(f"{n} {' '.join(filter(None, row))}" for row, n in sorted(Counter(rows).items())) or "none"


if __name__ == "__main__":
    main()
