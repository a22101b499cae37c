"""The names that Kubernetes accepts (DNS-1123), as field types. A name that passes reaches PostgreSQL, the API server
and the metrics as it is."""

from typing import Annotated

from pydantic import Field, StringConstraints

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_LABEL}$", examples=["smartops-dev"])]
WorkloadName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=f"^{_SUBDOMAIN}$", examples=["erp-simulator"])
]
ClusterName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_SUBDOMAIN}$")]

# No control characters: fingerprints use one as a separator.
_PRINTABLE = "[^\\u0000-\\u001f\\u007f-\\u009f]*"
Text = Annotated[str, Field(pattern=f"^{_PRINTABLE}$")]
Cause = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=128,
        pattern=rf"^{_PRINTABLE}[^\s\u0000-\u001f\u007f-\u009f]{_PRINTABLE}$",
    ),
]
