"""`make demo`: SmartOps on one machine, with a private PostgreSQL and a sandbox cluster, and two example signals."""
