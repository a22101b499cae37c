"""Simulates pods without containers. Annotations of the pod template control their behaviour:

- `sim/ready-after`: time from creation to the outcome, as a Go duration (default `200ms`);
- `sim/outcome`: `ready` (the default), `crash` (CrashLoopBackOff) or `stuck` (ImagePullBackOff);
- `sim/gone-after`: time from deletion to removal (default `0s`).
"""

import asyncio
import re

from smartops.dev.sandbox.objects import Object, Resource, timestamp
from smartops.dev.sandbox.registry import Registry
from smartops.dev.sandbox.resources import NODE, POD
from smartops.dev.sandbox.store import Event

NODE_NAME = "smartops-sandbox"
READY_AFTER, OUTCOME, GONE_AFTER = "sim/ready-after", "sim/outcome", "sim/gone-after"
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
NODE_INFO = (
    *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion"),
    *("machineID", "operatingSystem", "osImage", "systemUUID"),
)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


def duration(text: str, otherwise: float) -> float:
    """The duration in seconds; `otherwise` if the text is not a duration."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        return otherwise
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


class Kubelet:
    def __init__(self, registry: Registry, version: str) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._addresses = 0
        registry.store.subscribe(POD, self._see)
        self._join(version)

    def _join(self, version: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "Sandbox", "message": "no containers run here"}
        info = dict.fromkeys(NODE_INFO, "sandbox") | {"kubeletVersion": version}
        status = {"conditions": [ready], "nodeInfo": info}
        self._registry.insert(NODE, {"metadata": {"name": NODE_NAME}, "status": status})

    def _see(self, event: Event) -> None:
        pod = event.object
        if event.type == "DELETED":
            return
        if pod.deleting:
            if event.previous is None or not event.previous.deleting:
                self._loop.call_later(_duration(pod, GONE_AFTER, 0.0), self._stop, pod)
        elif event.type == "ADDED":
            self._loop.call_later(_duration(pod, READY_AFTER, 0.2), self._start, pod)

    def _stop(self, pod: Resource) -> None:
        now = self._registry.store.get(POD, pod.namespace, pod.name)
        if now is not None and now.uid == pod.uid:
            self._registry.delete(POD, now, {"gracePeriodSeconds": 0})

    def _start(self, pod: Resource) -> None:
        now = self._registry.store.get(POD, pod.namespace, pod.name)
        if now is None or now.uid != pod.uid or now.deleting:
            return
        self._addresses += 1
        high, low = divmod(self._addresses, 250)
        status = {**now["status"], **_status(now), "podIP": f"10.244.{high % 256}.{low + 1}"}
        spec = {"nodeName": NODE_NAME, **now["spec"]}  # a DaemonSet has chosen the node of its pod
        self._registry.write(POD, now, {**now, "spec": spec, "status": status}, subresource="status")


def _duration(pod: Resource, annotation: str, otherwise: float) -> float:
    return duration(pod.metadata.get("annotations", {}).get(annotation, ""), otherwise)


def _status(pod: Resource) -> Object:
    phase, waiting, restarts = "Running", "", 0
    match pod.metadata.get("annotations", {}).get(OUTCOME):
        case "crash":
            waiting, restarts = "CrashLoopBackOff", 5
        case "stuck":
            phase, waiting = "Pending", "ImagePullBackOff"
    now, ready = timestamp(), not waiting
    state = {"running": {"startedAt": now}} if ready else {"waiting": {"reason": waiting}}
    truth = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return {
        "phase": phase,
        "startTime": now,
        "conditions": [
            {"type": name, "status": str(value), "lastTransitionTime": now} for name, value in truth.items()
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "lastState": {},
                "ready": ready,
                "started": ready,
                "restartCount": restarts,
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ],
    }
