"""What all processes of a service share in Redis: the connection, uploaded pictures, feedback."""
