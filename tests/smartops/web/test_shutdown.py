import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from urllib.request import Request, urlopen

from django.test import Client

from tests.kit.patience import PATIENCE
from tests.kit.web import Web

# Seconds from SIGTERM until the kubelet kills the process: the chart leaves `terminationGracePeriodSeconds` of web
# processes at Kubernetes' default of 30, and its preStop hook takes 5 of them.
GRACE = 30 - 5


def test_a_web_process_ends_on_sigterm_amid_requests(serve: Callable[..., Web], reading: Client) -> None:
    web = serve()
    cookie = {"Cookie": f"sessionid={reading.cookies['sessionid'].value}"}
    answered = threading.Semaphore(0)

    def read_on() -> None:
        with suppress(OSError, HTTPException):
            while True:
                with urlopen(Request(f"{web.url}/console/", headers=cookie), timeout=PATIENCE) as answer:  # noqa: S310
                    answer.read()
                answered.release()

    readers = [threading.Thread(target=read_on) for _ in range(4)]
    for one in readers:
        one.start()
    for _ in range(8):
        assert answered.acquire(timeout=PATIENCE)
    began = time.monotonic()
    web.stop()
    assert time.monotonic() - began < GRACE
    assert web.process.exitcode == 0
    for one in readers:
        one.join()
    assert not [line for line in web.log if "Task was destroyed" in line or "never awaited" in line]


def test_a_static_file_is_served_with_its_length_and_not_sent_again(serve: Callable[..., Web]) -> None:
    web = serve()
    with urlopen(f"{web.url}/static/console/console.css", timeout=PATIENCE) as answer:  # noqa: S310
        body = answer.read()
        assert answer.headers["Content-Type"] == 'text/css; charset="utf-8"'
        assert len(body) == int(answer.headers["Content-Length"])
        assert body.endswith(b"}\n")
