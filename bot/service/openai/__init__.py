"""The OpenAI-compatible interface: its routes, and what goes in and out of them."""
