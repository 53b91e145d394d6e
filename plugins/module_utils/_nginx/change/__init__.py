"""Changes nginx's configuration, all or nothing."""
