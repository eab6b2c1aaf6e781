"""``bifocal serve``: the HTTP interfaces and the web page over the same bots.

Where things are. Each imports only what stands below it here, as the tests check:

- ``processes``      one process or several: started, watched over, replaced
- ``app``            the service put together: its routes, and what they share
- ``page``           the web page
- ``openai``         the OpenAI-compatible interface, and the fetching of pictures for it
- ``native``         the other routes under ``/v1``: turns, conversations, libraries, feedback
- ``ingestion``      uploaded files are taken into a library, in background jobs
- ``observability``  the log, metrics, traces and health
- ``flow``           a turn under way: the queue before it, its stream, resuming, the drain
- ``http``           what every request goes through: who asks, caps, bodies, problems
- ``served``         a bot for each tenant and library, and what it calls sources outside
- ``access``         who may do what, and how much: rights, keys, limits
- ``stores``         what all processes share in Redis: the connection, uploads
- ``settings``       the table ``[serve]``

``bot.channels`` imports ``observability`` and what stands below it; only ``app`` imports
``bot.channels``.
"""
