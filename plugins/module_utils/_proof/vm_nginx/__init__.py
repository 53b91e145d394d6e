"""The kind of path: client, nginx on a VM, gateway of the mesh, app."""
