"""What is compared of an answer: its status and reason, and how its objects relate to what was seen of them before."""

from typing import Any

from tests.conformance.script.scene import member
from tests.kit.client import Object

OURS = ("script", "python-urllib3")  # managers of fields; controllers have others


class Memory:
    """The identity and the version of each object, as last seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[str, int]] = {}

    def relation(self, obj: Object) -> str:
        """To the last answer about the object; a Scale is a view of another object of the same name."""
        metadata = obj.get("metadata", {})
        version, uid = metadata.get("resourceVersion"), metadata.get("uid", "")
        if version is None:
            return "no version" + (", no uid" if not uid else "")
        known = self._seen.get(self._key(obj))
        same = "new" if known is None else "same" if known[0] == uid else "another"
        moved = "" if known is None else f", version {_moved(known[1], int(version))}"
        generation = f", generation {metadata['generation']}" if "generation" in metadata else ""
        return f"uid {same}{moved}{generation}"

    def see(self, obj: Object) -> None:
        metadata = obj.get("metadata", {})
        if "uid" in metadata and "resourceVersion" in metadata:
            self._seen[self._key(obj)] = metadata["uid"], int(metadata["resourceVersion"])

    def _key(self, obj: Object) -> tuple[str, str]:
        kind = obj.get("kind", "")
        return "Deployment" if kind == "Scale" else kind, obj["metadata"].get("name", "")

    @property
    def latest(self) -> int:
        return max((version for _, version in self._seen.values()), default=0)


def _moved(before: int, now: int) -> str:
    return "same" if now == before else "later" if now > before else "earlier"


def compared(status: int, answer: Any, show: tuple[str, ...], memory: Memory) -> Object:
    """`answer` is a decoded document, a list of watch events, or text."""
    said: Object = {"status": status}
    if isinstance(answer, list):
        said["events"] = [_event(event, memory) for event in answer]
    elif not isinstance(answer, dict):
        said["text"] = "yes" if answer else "no"
    elif answer.get("kind") == "Status":
        said |= _status(answer)
    elif "items" in answer:
        said |= _list(answer, memory)
    elif "metadata" in answer:
        said["object"] = memory.relation(answer)
    if show and isinstance(answer, dict):
        said["shows"] = {path: _shown(answer, path) for path in show}
    return said


def _status(answer: Object) -> Object:
    said = {"reason": answer["reason"]} if answer.get("reason") else {}
    details = answer.get("details", {})
    said |= {name: details[name] for name in ("kind", "group", "retryAfterSeconds") if details.get(name)}
    causes = [f"{cause.get('reason')} {cause.get('field', '')}".strip() for cause in details.get("causes", ())]
    return said | ({"causes": sorted(causes)} if causes else {})


def _list(answer: Object, memory: Memory) -> Object:
    kind, metadata = answer["kind"].removesuffix("List"), answer["metadata"]
    items = [{"kind": kind, **item} for item in answer["items"]]
    said: Object = {"items": {item["metadata"]["name"]: memory.relation(item) for item in items}}
    said["version"] = "none" if "resourceVersion" not in metadata else (
        "before what was seen" if int(metadata["resourceVersion"]) < memory.latest else "up to date"
    )  # fmt: skip
    more = {"remaining": metadata.get("remainingItemCount"), "continue": bool(metadata.get("continue"))}
    return said | ({"more": more} if more["continue"] else {})


def _event(event: Object, memory: Memory) -> str:
    obj = event["object"]
    if event["type"] == "ERROR":
        return f"ERROR {obj.get('code')} {obj.get('reason', '')}".strip()
    if event["type"] == "BOOKMARK":
        return " ".join(["BOOKMARK", *sorted(obj["metadata"].get("annotations", {}))])
    said = f"{event['type']} {obj['metadata']['name']}: {memory.relation(obj)}"
    memory.see(obj)
    return said


def _shown(answer: Object, path: str) -> Any:
    value = member(answer, path)
    return _managers(value) if path.endswith("managedFields") else value


def _managers(entries: list[Object] | None) -> Object:
    """Whose fields are which, without the times."""
    shown = {}
    for entry in entries or ():
        if entry["manager"].startswith(OURS):
            who = " ".join([entry["manager"], entry["operation"], entry.get("subresource", "")]).strip()
            shown[who] = sorted(_leaves(entry["fieldsV1"], ""))
    return shown


def _leaves(fields: Object, path: str) -> list[str]:
    """Without the dots, which say of a map or an item that it is there at all."""
    if not fields:
        return [path]
    inner = {name: fields[name] for name in fields if name != "."}
    return [leaf for name in inner for leaf in _leaves(inner[name], f"{path} {name}".strip())]
