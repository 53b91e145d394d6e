"""The Kubernetes API: connection, apply, list and watch, readiness, errors. It knows no route."""
