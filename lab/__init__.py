# SPDX-License-Identifier: GPL-3.0-or-later
"""The local lab: a real Kubernetes, Istio and VMs on one bare Debian machine (`python -m lab --help`)."""
