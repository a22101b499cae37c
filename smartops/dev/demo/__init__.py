"""`make demo`: SmartOps on one machine, with everything it needs, and a story of what it does."""
