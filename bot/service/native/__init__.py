"""The routes of the native interface, ``/v1``, and what goes in and out of them."""
