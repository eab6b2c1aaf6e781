"""What can be seen of the service from outside: the log, metrics and traces."""
