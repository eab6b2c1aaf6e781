"""From files to a library: what may be read, how it is parsed, and how it is stored.

``pipeline.Ingestor`` is the way in. Parsing happens in child processes that know nothing of the
library (``worker``, ``pool``); ``loaders.parse`` is what they run.
"""
