"""What the mesh says: its gateways' addresses and labels, and their logs."""
