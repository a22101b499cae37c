"""`python -m smartops.dev.demo`, as `make demo` runs it: real processes, on ports and in directories of their own."""

import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
import yaml

from smartops.dev import postgres
from smartops.dev.sandbox import Sandbox
from tests.kit import database
from tests.kit.manifests import deployment
from tests.kit.pages import ROOT, page, section
from tests.kit.patience import PATIENCE

COMMAND = [sys.executable, "-m", "smartops.dev.demo"]
SHOWN = "SmartOps runs until Ctrl-C."
HUNG = 5 * PATIENCE  # seconds that a test may take with a demo


def settings(state: Path, environment: dict[str, str]) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if name != "DEMO_KUBECONFIG"}
    return {**given, "STATE": str(state), "PORT": "0", **environment}


@dataclass
class Demo:
    """A demo in a process group of its own, as in a terminal."""

    state: Path
    process: "subprocess.Popen[str]"

    def read_until(self, words: str) -> str:
        """The output up to the line with these words."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return "".join(lines)
        pytest.fail(f"the demo did not print {words!r}: {''.join(lines)}")

    @property
    def handles(self) -> dict[str, Any]:
        handles: dict[str, Any] = json.loads((self.state / "demo.json").read_text())
        return handles

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def status(self) -> int:
        return self.process.wait(timeout=PATIENCE)


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    """The directory of a demo that comes to a migrated database, as all but the first do: it begins in a third of the
    time."""
    state = tmp_path / "a state"
    database.start_migrated(state / "postgres")
    postgres.stop(state / "postgres")
    return state


@contextmanager
def demo(state: Path, **environment: str) -> Iterator[Demo]:
    process = subprocess.Popen(
        COMMAND,
        env=settings(state, environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    hung = Timer(HUNG, process.kill)
    hung.start()
    try:
        with process:
            try:
                yield Demo(state, process)
            finally:
                process.terminate()
    finally:
        hung.cancel()
        postgres.stop(state / "postgres")


def refusal(state: Path, **environment: str) -> str:
    """The message of a demo that cannot start: one line."""
    refused = subprocess.run(
        COMMAND, env=settings(state, environment), capture_output=True, text=True, timeout=PATIENCE
    )
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""
    return refused.stderr


def left_behind(state: Path) -> list[str]:
    """The processes that have this directory in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            known = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(state) in known and int(folder.name) != os.getpid():
            found.append(known.decode(errors="replace").replace("\0", " ")[:200])
    return found


def await_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} still runs"
    finally:
        os.close(descriptor)


def get(url: str, token: str = "") -> Any:
    request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return answer.read()


def sign_in(handles: dict[str, Any]) -> str:
    """The address after the administrator's sign-in."""
    cookies = CookieJar()
    browser, login = build_opener(HTTPCookieProcessor(cookies)), f"{handles['url']}/admin/login/?next=/console/"
    browser.open(login, timeout=PATIENCE).close()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = urlencode({**handles["admin"], "csrfmiddlewaretoken": token}).encode()
    with browser.open(login, form, timeout=PATIENCE) as page:
        return str(page.url)


def test_a_demo_shows_two_signals_stops_cleanly_continues_and_dies_with_its_children(tmp_path: Path) -> None:
    state = tmp_path / "a state"
    with demo(state) as first:
        story = first.read_until(SHOWN)
        handles = first.handles
        assert len(re.findall(r"^ +\+\d+\.\d{3} s  SUCCESS +desired 3, ready 3, available 3", story, re.MULTILINE)) == 2
        assert "3 of 8 replicas" in story
        assert "Scaled from 2 to 3 replicas" in story
        assert max(map(len, story.splitlines())) <= 100
        assert without_values(transcript()) <= without_values(story)
        for name in ("demo.json", "env"):
            assert (state / name).stat().st_mode & 0o777 == 0o600
        assert handles.keys() == {"url", "token", "admin", "kubeconfig", "sandbox", "database_url", "metrics", "pids"}
        assert handles["pids"].keys() == {"web", "reconciler", "sandbox", "postgres"}
        assert len(json.loads(get(f"{handles['url']}/v1/actions", handles["token"]))["items"]) == 2
        assert b"smartops_k8s_scale_total" in get(handles["metrics"]["reconciler"])
        assert get(handles["metrics"]["web"])
        assert sign_in(handles) == f"{handles['url']}/console/"
        assert f"A demo runs in {state} already (pid {first.process.pid})" in refusal(state)
        first.interrupt()
        first.interrupt()
        assert first.status() == 0
        assert not (state / "demo.json").exists()
        assert not (state / "env").exists()
        assert left_behind(state) == []

    with demo(state) as again:
        story = again.read_until(SHOWN)
        assert len(re.findall(r"deferred +until \d\d:\d\d:\d\d, \d+ s left \(CooldownActive\)", story)) == 2
        for kept in ("token", "admin"):
            assert again.handles[kept] == handles[kept]
        pids = again.handles["pids"]
        again.process.kill()
        for name in ("web", "reconciler", "sandbox"):
            await_end(pids[name])


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
def test_the_commands_of_the_pages_work_as_printed_beside_a_demo(migrated: Path) -> None:
    """The demo has a state directory and a port other than the default ones."""
    state = migrated
    with demo(state) as running:
        running.read_until(SHOWN)
        handles = running.handles

        [examples, create_token] = commands("README.md", "## API")
        answers = [json.loads(line) for line in shell(state, examples).splitlines()]
        assert [sorted(answer)[:1] for answer in answers[:2]] == [["duplicate"]] * 2
        assert [answer.get("success") for answer in answers[2:5]] == [True] * 3
        assert answers[5]["state"] == "pending"
        assert [len(answer["items"]) for answer in answers[7:]] == [1]

        token = shell(state, create_token).strip()
        assert token != handles["token"]
        assert json.loads(shell(state, f"TOKEN={token}", ANOMALY))["duplicate"] is False

        [reconcile] = commands("README.md", "## The reconciler")
        assert shell(state, reconcile.strip().replace("9090", "0") + " --drain") == ""

        use, refuse = commands("docs/sandbox.md", "## Use it"), commands("docs/sandbox.md", "## Faults")
        assert "Scaled from 2 to 3 replicas" in shell(state, *use)
        restarted = json.loads(shell(state, *refuse).splitlines()[-1])
        assert restarted["success"] is True


ANOMALY = """curl -sS "$URL/v1/signals/anomaly" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d '{"windowId": "w", "service": "payments", "isAnomaly": false, "score": 0.1, "type": "other"}'"""


def commands(name: str, heading: str) -> list[str]:
    """The shell commands in this section of a page."""
    return re.findall(r"```sh\n(.*?)```", section(page(name), heading), re.DOTALL)


def shell(state: Path, *blocks: str) -> str:
    """What the commands print, in the checkout, with nothing of the environment but the PATH. kubectl needs a HOME."""
    read = f". {shlex.quote(str(state / 'env'))}"
    script = "\n".join(["set -euo pipefail", read, *(block.replace(". .smartops/env", read) for block in blocks)])
    finished = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(state.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def transcript() -> str:
    """The output of the demo, as the README shows it."""
    _, _, rest = page("README.md").partition("```text\nAn anomaly detector")
    assert rest
    return "An anomaly detector" + rest.partition("```")[0]


def without_values(output: str) -> set[str]:
    """The lines, with uids and numbers replaced; without the lines of dots that shorten them."""
    lines = (re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "uid", line).rstrip() for line in output.splitlines())
    return {re.sub(r"\d+", "0", line) for line in lines if line.strip() != "..."}


def test_a_demo_adds_its_workloads_to_another_cluster_and_names_a_child_that_died(
    migrated: Path, tmp_path: Path
) -> None:
    with Sandbox() as sandbox:
        mine = tmp_path / "mine.yaml"
        mine.write_text(yaml.safe_dump(deployment("erp-simulator", replicas=5, namespace="smartops-dev")))
        sandbox.load(mine)
        with demo(migrated, DEMO_KUBECONFIG=str(sandbox.kubeconfig), KUBECONFIG="/nowhere") as elsewhere:
            story = elsewhere.read_until("SUCCESS")
            handles = elsewhere.handles
            assert "Scaled from 5 to 6 replicas" in story
            assert handles["kubeconfig"] == str(sandbox.kubeconfig)
            assert handles["pids"]["sandbox"] is None
            names = {
                kind: [one["metadata"]["name"] for one in json.loads(get(f"{apps}/{kind}"))["items"]]
                for apps in [f"{sandbox.url}/apis/apps/v1/namespaces/smartops-dev"]
                for kind in ("deployments", "statefulsets", "daemonsets")
            }
            assert names == {
                "deployments": ["checkout", "erp-simulator", "inventory", "invoice-worker", "payments", "reporting"],
                "statefulsets": ["ledger"],
                "daemonsets": ["log-agent"],
            }
            os.kill(handles["pids"]["web"], signal.SIGKILL)
            elsewhere.read_until("web was killed by SIGKILL; the end of")
            assert elsewhere.status() == 1
        assert left_behind(migrated) == []


def test_an_interrupted_start_leaves_no_process_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as starting:
        starting.read_until("starts in")
        starting.interrupt()
        assert starting.status() == 0
        assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"PORT": "eighty"}, "PORT=eighty is not a port"),
        ({"DEMO_KUBECONFIG": "/nowhere"}, "DEMO_KUBECONFIG=/nowhere is not a file"),
        ({"STATE": "/proc/nowhere"}, "/proc/nowhere cannot be used"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(
    tmp_path: Path, environment: dict[str, str], complaint: str
) -> None:
    assert complaint in refusal(tmp_path, **environment)


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"Port {port} cannot be used: Address already in use." in refusal(tmp_path, PORT=str(port))
