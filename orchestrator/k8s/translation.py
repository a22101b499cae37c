"""Translates what the client library, urllib3 and the sockets raise into a ClusterError."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.client.exceptions import OpenApiException
from kubernetes.config import ConfigException
from urllib3 import exceptions as http

from orchestrator.k8s.errors import TimedOut, Unknown, Unreached
from signals.lib.redaction import redacted


@contextmanager
def translate() -> Iterator[None]:
    """Turns what the Kubernetes library, urllib3, sockets and parsing raise into a ClusterError."""
    try:
        yield
    except (ConfigException, OpenApiException) as error:  # the library sends nothing of ours: it obtains credentials
        raise Unreached(_describe(error)) from error
    except (http.ConnectTimeoutError, http.ProxyError, http.LocationValueError) as error:
        # ConnectTimeoutError is the base of refused connections and of failed name resolution, too.
        raise Unreached(_describe(error)) from error
    except http.SSLError as error:
        # A certificate that we do not accept ends the handshake before a request is sent; other TLS errors may come at
        # any time.
        rejected = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args)
        raise (Unreached if rejected else Unknown)(_describe(error)) from error
    except (http.TimeoutError, TimeoutError) as error:
        raise TimedOut(_describe(error)) from error
    except (http.HTTPError, OSError, ValueError, RecursionError) as error:
        raise Unknown(_describe(error)) from error


def _describe(error: BaseException) -> str:
    return redacted(" ".join(str(error).split()))[:500] or type(error).__name__
