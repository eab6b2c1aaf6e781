"""What can be seen of the service from outside: the log, metrics, traces and health."""
