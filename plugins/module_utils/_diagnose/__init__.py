"""Why a request fails: what to ask, in which order, and what the answers mean."""
