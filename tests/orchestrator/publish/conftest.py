from tests.closed_loop.conftest import world

__all__ = ["world"]
