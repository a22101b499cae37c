"""The HTTP server of the web process."""

import daphne.server  # noqa: F401 - installs the reactor, before anything else of Twisted is imported
