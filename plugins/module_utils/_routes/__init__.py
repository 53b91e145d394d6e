"""The one schema of gateways and routes: what a user writes once, and what every role reads."""
