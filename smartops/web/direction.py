"""Characters that change the direction of text, made visible in every page.

`<bdi>` does not contain them: an isolate that a text opens and does not close takes the end of the element for its own,
and the rest of the page is reversed. None of our pages needs them."""

import re

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from smartops.web.types import GetResponse

# In UTF-8: embeddings and overrides (U+202A to U+202E), isolates (U+2066 to U+2069).
_CONTROL = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])")


@async_only_middleware
def visible_direction(get_response: GetResponse) -> GetResponse:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        if isinstance(response, HttpResponse) and response.headers.get("Content-Type", "").startswith("text/html"):
            shown = _CONTROL.sub(lambda found: b"[U+%04X]" % ord(found[0].decode()), response.content)
            if shown != response.content:
                response.content = shown
                response.headers["Content-Length"] = str(len(shown))
        return response

    return middleware
