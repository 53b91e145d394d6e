"""From what stands before a gateway, and who may come in, to what the cluster is told."""
