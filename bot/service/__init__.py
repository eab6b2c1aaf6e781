"""``bifocal serve``: the HTTP interfaces and the web page over the same bots."""
