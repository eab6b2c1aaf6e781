"""Who may do what, and how much: rights, keys and their limits."""
