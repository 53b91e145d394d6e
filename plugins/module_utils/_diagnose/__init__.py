# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a request fails: what to ask, in which order, and what the answers mean."""
