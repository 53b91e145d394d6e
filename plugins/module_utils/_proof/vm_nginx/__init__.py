# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind of path: client, nginx on a VM, gateway of the mesh, app."""
