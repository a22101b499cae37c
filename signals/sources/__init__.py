"""One kind of detector, one module: the body it posts, and how an Observation is read from it."""
