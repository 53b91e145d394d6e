# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims about a route, and what proves them. The core knows no kind of path; each kind is a package beside it."""
