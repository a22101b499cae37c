from tests.api import api, http

__all__ = ["api", "http"]
