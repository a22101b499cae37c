"""A Kubernetes API over HTTP on loopback, for demos and tests: no containers, but Deployments that roll, and faults on
request. `Sandbox` runs it inside a test, `python -m smartops.sandbox` by itself."""

from smartops.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
