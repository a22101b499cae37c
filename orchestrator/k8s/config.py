"""The address of the cluster and the credentials for it."""

import os
from pathlib import Path

from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError


def load_configuration(kubeconfig: str | Path | None = None) -> Configuration:
    """From the given kubeconfig; without one, from the ServiceAccount of the pod; outside a pod, from $KUBECONFIG or
    ~/.kube/config. Each call returns a new Configuration, so that a process can use several clusters. ConfigException
    if there is none."""
    configuration = Configuration()
    if kubeconfig is None:
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except ConfigException:
            kubeconfig = os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser()
        else:
            return configuration
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            str(kubeconfig), client_configuration=configuration, persist_config=False
        )
    except YAMLError as error:  # its message may quote the file
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigException(f"{kubeconfig}{line}: it is not YAML") from None
    except OSError as error:
        raise ConfigException(f"{kubeconfig}: {error}") from error
    return configuration
