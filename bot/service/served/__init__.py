"""The bots that the service has, and what they call things outside of this machine."""
