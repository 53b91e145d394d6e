# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates in Kubernetes Secrets: inspected, judged, issued, delivered, exported; and the private CA."""
