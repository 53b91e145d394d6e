"""From routes to the configuration of a VM's nginx."""
