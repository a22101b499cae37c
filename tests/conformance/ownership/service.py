"""The service of these tests."""

from collections.abc import Callable

from tests.kit.client import Object

SERVICE = "erp-simulator"
Runs = Callable[..., Object]
