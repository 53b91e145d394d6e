"""Certificates in Kubernetes Secrets: inspected, judged, issued, delivered, exported; and the private CA."""
