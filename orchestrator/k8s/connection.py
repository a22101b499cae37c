"""Requests to one API server: each is counted, bounded in time, and sent once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kubernetes.client import ApiClient, AppsV1Api, AuthorizationV1Api, AutoscalingV2Api, CoreV1Api
from urllib3 import Retry

from orchestrator.k8s.config import load_configuration
from orchestrator.k8s.errors import translate
from orchestrator.k8s.metrics import api_call
from orchestrator.k8s.parse import Page, parse_page
from orchestrator.k8s.response import read_json, read_lines
from signals.lib import tracing

T = TypeVar("T")

# A method of the client library for one operation. With `_preload_content=False` it returns urllib3's response unread.
Request = Callable[..., Any]

PAGE_SIZE = 500
METHODS = {"create": "POST", "delete": "DELETE", "patch": "PATCH"}  # all else is read


class Connection:
    """`timeout` is in seconds, for each call from connecting to the last byte. `connections` are kept open: as many as
    there are threads to use them."""

    def __init__(self, kubeconfig: str | Path | None, *, timeout: float, connections: int) -> None:
        with translate():
            configuration = load_configuration(kubeconfig)
        # By default urllib3 repeats a request up to three times: after connection errors, on redirects, and a GET or
        # DELETE even after the server has read it. With False, unlike 0, errors are not wrapped as MaxRetryError.
        configuration.retries = Retry(total=False)
        configuration.connection_pool_maxsize = connections
        client = ApiClient(configuration)
        client.user_agent = "smartops-orchestrator"
        self.core = CoreV1Api(client)
        self.apps = AppsV1Api(client)
        self.autoscaling = AutoscalingV2Api(client)
        self.authorization = AuthorizationV1Api(client)
        self._timeout = float(timeout)
        server = urlsplit(configuration.host)
        self._server = {
            "server.address": server.hostname or "",
            "server.port": server.port or {"http": 80, "https": 443}[server.scheme],
        }

    def call(self, verb: str, resource: str, request: Request, parse: Callable[[Any], T], **arguments: Any) -> T:
        """A write whose answer cannot be read is Unknown, like one without an answer."""
        about = self._server | {"http.request.method": METHODS.get(verb, "GET")}
        if "name" in arguments:
            kind = resource.partition("/")[0].removesuffix("s")
            about |= {"k8s.namespace.name": arguments["namespace"], f"k8s.{kind}.name": arguments["name"]}
        with tracing.call(f"{verb} {resource}", about) as span, api_call(verb, resource), translate():
            deadline = monotonic() + self._timeout
            response = request(**arguments, _preload_content=False, _request_timeout=self._timeout)
            span.set_attribute("http.response.status_code", response.status)
            return parse(read_json(response, deadline))

    def pages(
        self, resource: str, request: Request, parse_item: Callable[[Any], T], **arguments: Any
    ) -> Iterator[Page[T]]:
        def parse(raw: Any) -> Page[T]:
            return parse_page(raw, parse_item)

        page = self.call("list", resource, request, parse, **arguments, limit=PAGE_SIZE)
        yield page
        while page.continuation:
            arguments["_continue"] = page.continuation
            page = self.call("list", resource, request, parse, **arguments, limit=PAGE_SIZE)
            yield page

    def lines(self, resource: str, request: Request, stop: Event, idle: float, **arguments: Any) -> Iterator[bytes]:
        """The raw lines of a watch, until the server ends it or `stop` is set; TimedOut after `idle` seconds without a
        byte."""
        with api_call("watch", resource), translate():
            response = request(**arguments, watch=True, _preload_content=False, _request_timeout=self._timeout)
        with translate():
            yield from read_lines(response, stop, idle)
