"""nginx on a host: a configuration written, read as nginx reads it, and changed as a transaction."""
