"""A script of requests with the answers of a real control plane. `scenes/*.yaml` say what is asked, `recorded.yaml`
what was answered; each scene has its own namespace. `python -m tests.conformance.script KUBECONFIG` records anew."""
