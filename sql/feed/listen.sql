-- Has this connection told of hints to read the log.
LISTEN emporium_events
