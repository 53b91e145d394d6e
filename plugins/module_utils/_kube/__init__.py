# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API: connection, apply, list and watch, readiness, errors. It knows no route."""
