"""Which cluster, and as whom."""

import os
from pathlib import Path

from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError


def load_configuration(kubeconfig: str | Path | None = None) -> Configuration:
    """The named kubeconfig; without one the ServiceAccount of the pod that we run in; outside of a pod $KUBECONFIG or
    ~/.kube/config. A Configuration of its own, so that one process can talk to several clusters; ConfigException
    where there is none."""
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
    except (OSError, YAMLError) as error:
        raise ConfigException(f"{kubeconfig}: {error}") from error
    return configuration
