"""The HTTP server of the web process."""
