"""A Kubernetes API over HTTP on loopback, for demos and tests: no containers, but Deployments that roll, and faults on
request. `Sandbox` runs it inside a test, `python -m smartops.dev.sandbox` by itself."""

from smartops.dev.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
