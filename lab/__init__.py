"""The local lab: a real Kubernetes, Istio and VMs on one bare Debian machine (`python -m lab --help`)."""
