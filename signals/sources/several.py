"""Several observations in one post."""

from collections.abc import Iterator, Mapping
from typing import Any

OBSERVATIONS = "observations"
MERGED = ("labels", "annotations")


def divide(post: Mapping[str, Any]) -> Iterator[Any]:
    """The bodies of the observations of a post. Each has the fields of the post that it does not have itself; labels
    and annotations are merged name by name. What is not an object is left for the validation."""
    common = {name: value for name, value in post.items() if name != OBSERVATIONS}
    for one in post[OBSERVATIONS]:
        if isinstance(one, Mapping):
            both = {name: {**common[name], **one[name]} for name in MERGED if _are_objects(common, one, name)}
            yield {**common, **one, **both}
        else:
            yield one


def _are_objects(common: Mapping[str, Any], one: Mapping[str, Any], name: str) -> bool:
    return isinstance(common.get(name), Mapping) and isinstance(one.get(name), Mapping)
