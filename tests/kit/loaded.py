"""The modules of both kinds of process, and Django's models: a start takes a second of processor time, nearly all of it
for these imports. The server that processes are forked from imports this module (tests/kit/forked.py).

It must have no threads, no connections and no reactor, which children would share: so it has the parts of the server in
smartops/edge, and not that itself.
"""

import gc
import os
from importlib import import_module

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "smartops.settings"
django.setup()

for name in (
    "daphne.http_protocol",
    "daphne.ws_protocol",
    "orchestrator.management.commands.reconcile",
    "smartops.console.consumers",
    "smartops.urls",
    "smartops.web.handler",
    "tests.kit.forked",
    "twisted.internet.asyncioreactor",
):
    import_module(name)
LOADED_BY = os.getpid()
gc.freeze()  # a collection in a child would copy what they share
