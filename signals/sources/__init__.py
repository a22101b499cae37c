"""One module per kind of detector: the body that it posts, and the observation in it."""
