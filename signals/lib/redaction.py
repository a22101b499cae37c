"""What no text carries out of the process: the credentials and parameters of URLs, and Authorization headers. Pure."""

import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S+)")
_PARAMETERS = re.compile(r"[?#]\S*?(?=[\"')\],.:;]*$)")  # punctuation at the end belongs to the sentence
_AUTHORIZATION = re.compile(r"\b(Basic|Bearer)\s+[^\s'\"]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text, with each URL as scheme, host and path. What might belong to a password is removed: all up to the last
    `@` of the word."""
    if "://" in text:
        text = _URL.sub(_address, text)
    return _AUTHORIZATION.sub(r"\1 [removed]", text)


def error_text(error: BaseException) -> str:
    """The class of the error and its message, in at most 1,000 characters that a column of text can store."""
    text = redacted(f"{type(error).__name__}: {error}")[:1000]
    return text.replace("\0", "").encode(errors="replace").decode()


def _address(url: re.Match[str]) -> str:
    scheme, rest = url.groups()
    return f"{scheme}{_PARAMETERS.sub('', rest.rpartition('@')[2])}"
