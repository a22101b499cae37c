"""Actions over HTTP: asked for directly, and read with all that proves them."""
