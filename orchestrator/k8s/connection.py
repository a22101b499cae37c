"""HTTP requests to one API server: each is counted, bounded in time, and sent once.

The Kubernetes library loads the configuration, keeps the credentials fresh and sets up TLS and proxies. Its generated
methods are not used: their validation costs more CPU than the request, and their models 40 MB.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from kubernetes.client import ApiClient
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Retry, Timeout

from orchestrator.k8s.config import load_configuration
from orchestrator.k8s.errors import TimedOut, Unknown, from_answer
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.metrics import api_call
from orchestrator.k8s.parse import Page, parse_page
from orchestrator.k8s.resources import Resource
from orchestrator.k8s.response import read_body, read_lines
from orchestrator.k8s.translation import translate
from signals.lib import tracing

T = TypeVar("T")
Query = Mapping[str, str]

PAGE_SIZE, MIN_PAGE_SIZE = 500, 20  # items
MAX_LIST_TIME = 300.0  # seconds for all pages: the API server keeps a version for about as long
GATEWAY_TIMEOUT = 504  # of an API server that gave up itself
JSON = "application/json"
METHODS = {"create": "POST", "patch": "PATCH"}  # every other verb reads
CREDENTIALS_PERIOD = 1.0  # seconds for which the library's answer is used again


class Connection:
    """`timeout` is in seconds, for each call from connecting to the last byte. A page of a list has three times as
    long: nothing waits for it under a lease. `connections` are kept open: as many as there are threads to use them."""

    def __init__(self, kubeconfig: str | Path | None, *, timeout: float, connections: int) -> None:
        with translate():
            configuration = load_configuration(kubeconfig)
            # By default urllib3 repeats a request up to three times: after connection errors, on redirects, and a GET
            # or DELETE even after the server has read it. With False, unlike 0, errors are not wrapped.
            configuration.retries = Retry(total=False)
            configuration.connection_pool_maxsize = connections
            self._client = ApiClient(configuration)
            manager, server = self._client.rest_client.pool_manager, urlsplit(configuration.host)
            self._pool: HTTPConnectionPool = manager.connection_from_url(configuration.host)
        self._timeout, self._list_timeout = float(timeout), 3 * float(timeout)
        self._page_sizes: dict[str, int] = {}  # by path: those that were too large are not tried again
        self._credentials: tuple[float, Query] = (0.0, {})  # valid until (monotonic), headers
        # A proxy for plain HTTP needs absolute URLs. The address of a server may have a path, as Rancher's has.
        base = server._replace(netloc=server.netloc.rpartition("@")[2], query="", fragment="").geturl()
        self._prefix = base if manager.proxy and server.scheme == "http" else server.path
        self._server = {
            "server.address": server.hostname or "",
            "server.port": server.port or {"http": 80, "https": 443}[server.scheme],
        }

    def call(
        self,
        verb: str,
        resource: Resource,
        parse: Callable[[Any], T],
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str = "",
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        timeout: float | None = None,
    ) -> T:
        """`verb` is a verb of RBAC. A write whose answer cannot be read is Unknown, like one without an answer."""
        timeout = timeout or self._timeout
        path = resource.path(namespace, name, subresource)
        method, what = METHODS.get(verb, "GET"), f"{resource.name}/{subresource}" if subresource else resource.name
        attributes = self._server | {"http.request.method": method}
        if namespace is not None and name is not None:
            attributes |= {"k8s.namespace.name": namespace, f"k8s.{resource.name.removesuffix('s')}.name": name}
        with tracing.call(f"{verb} {what}", attributes) as span, api_call(verb, what), translate():
            deadline = monotonic() + timeout
            content = None if body is None else json.dumps(body).encode()
            response = self._send(method, path, query, content, content_type, timeout=timeout)
            span.set_attribute("http.response.status_code", response.status)
            _raise_for_status(response, deadline)
            return parse(json.loads(read_body(response, deadline)))

    def pages(
        self, resource: Resource, parse_item: Callable[[Any], T], namespace: str | None, query: Query
    ) -> Iterator[Page[T]]:
        """The collection in pages of PAGE_SIZE items. A page that does not come in time is requested again with fewer
        items. TimedOut if all pages together take too long."""

        def parse(raw: Any) -> Page[T]:
            return parse_page(raw, parse_item)

        path, ends_at = resource.path(namespace), monotonic() + MAX_LIST_TIME
        position, listed = dict[str, str](), 0
        while True:
            if (left := ends_at - monotonic()) <= 0:
                raise TimedOut(f"The list was not complete within {MAX_LIST_TIME:.0f} s ({listed} items)")
            size, timeout = self._page_sizes.get(path, PAGE_SIZE), min(self._list_timeout, left)
            limited = {**query, **position, "limit": str(size)}
            try:
                page = self.call("list", resource, parse, namespace=namespace, query=limited, timeout=timeout)
            except Unknown as error:
                if size <= MIN_PAGE_SIZE or not (isinstance(error, TimedOut) or error.code == GATEWAY_TIMEOUT):
                    raise
                self._page_sizes[path] = max(MIN_PAGE_SIZE, size // 5)
                continue
            yield page
            if not page.continuation:
                return
            position, listed = {"continue": page.continuation}, listed + len(page.items)

    def lines(
        self, resource: Resource, namespace: str | None, query: Query, stop: Interruption, idle: float
    ) -> Iterator[bytes]:
        """The raw lines of a watch, until the server ends it or `stop` is set; TimedOut after `idle` seconds without a
        byte."""
        path = resource.path(namespace)
        with api_call("watch", resource.name), translate():
            deadline = monotonic() + self._timeout
            response = self._send("GET", path, {**query, "watch": "true"})
            _raise_for_status(response, deadline)
        with translate():
            yield from read_lines(response, stop, idle)

    def _send(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        *,
        timeout: float | None = None,
    ) -> BaseHTTPResponse:
        """The response with its body unread. An error status raises nothing."""
        headers = {"Accept": JSON, "User-Agent": "smartops-orchestrator", **self._authorization()}
        if body is not None:
            headers["Content-Type"] = content_type
        url = self._prefix + path
        return self._pool.urlopen(
            method,
            f"{url}?{urlencode(query)}" if query else url,
            body=body,
            headers=headers,
            timeout=Timeout(total=timeout or self._timeout),
            redirect=False,
            assert_same_host=False,  # a proxy is another host than the URL names
            preload_content=False,
        )

    def _authorization(self) -> Query:
        """The library refreshes a token that is about to expire whenever it is asked. With a kubeconfig, each time
        costs 50 µs: so it is not asked for every request."""
        expires, headers = self._credentials
        if monotonic() >= expires:
            headers = dict[str, str]()
            self._client.update_params_for_auth(headers, [], ["BearerToken"], None, None, None)
            self._credentials = (monotonic() + CREDENTIALS_PERIOD, headers)
        return headers


def _raise_for_status(response: BaseHTTPResponse, deadline: float) -> None:
    if not 200 <= response.status < 300:
        body = read_body(response, deadline).decode(errors="replace")
        raise from_answer(response.status, body, response.headers)
