"""A turn under way: the queue before it, its events, their resumption, and the drain."""
