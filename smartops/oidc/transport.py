"""Requests to the OpenID provider.

An answer comes from the address that was asked, and is limited in size and time. No request keeps a connection to the
database: else a slow provider, and few people who sign in, would keep the whole pool.
"""

from time import monotonic
from typing import Any

import requests
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.db import connection
from urllib3.exceptions import HTTPError

PAUSE = 5.0  # seconds to connect, and between two parts of an answer
LONGEST = 10.0  # seconds from the status of an answer to its end
LARGEST = 1024 * 1024  # bytes of an answer
PART = 64 * 1024


class Session(requests.Session):
    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """A redirect is refused: the client's secret and the access token are for the provider alone. Raises
        OAuth2Error for an answer that is refused, and RequestException without one."""
        if not connection.in_atomic_block:
            connection.close()  # back to the pool
        kwargs |= {"timeout": PAUSE, "allow_redirects": False, "stream": True}
        with super().request(method, url, *args, **kwargs) as answer:
            if answer.is_redirect:
                raise OAuth2Error(f"{url} answers with a redirect")
            answer._content = _read(answer)
        return answer


def _read(answer: requests.Response) -> bytes:
    until, body = monotonic() + LONGEST, bytearray()
    try:
        while part := answer.raw.read1(PART, decode_content=True):
            body += part
            if len(body) > LARGEST:
                raise OAuth2Error(f"the answer of {answer.url} is larger than {LARGEST} bytes")
            if monotonic() > until:
                raise requests.Timeout(f"{answer.url} has sent a part of its answer in {LONGEST:g} s")
    except HTTPError as error:
        raise requests.ConnectionError(error) from error
    return bytes(body)
