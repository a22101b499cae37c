"""A Kubernetes API over HTTP on loopback, for the demo and for tests. `Sandbox` runs it inside a test, and
`python -m smartops.dev.sandbox` as a process.

It imitates what `kubectl` and SmartOps' cluster client use: discovery, CRUD with resourceVersions and generations, the
patch types, dry runs, field managers, watches, Events, evictions, garbage collection, and the controllers of
Deployments, ReplicaSets, StatefulSets, DaemonSets and PodDisruptionBudgets. It also injects faults (`faults.py`), which
a real API server does not offer.

It never imitates:

- **containers and nodes**: no scheduler, images, logs, exec or network. Annotations decide when a pod is ready;
- **other controllers**: Jobs, CronJobs, HorizontalPodAutoscalers, Services, quotas and
  volumes are stored, but nothing acts on them;
- **admission**: no webhooks, no admission policies, no custom resources, no API aggregation;
- **security**: no authentication and no TLS. Access is allowed unless a test forbids it; Roles are not evaluated;
- **versions**: one version of each API group, no conversion, no storage migration, no feature gates;
- **persistence and scale**: one process, all objects in memory, no replication.

A test that needs one of these belongs to `make conformance`, which runs on a real control plane. docs/adr/0008 has the
scope, docs/adr/0014 the comparison with a real control plane.
"""

from smartops.dev.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
