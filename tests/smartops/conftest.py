from tests.api import api

__all__ = ["api"]
