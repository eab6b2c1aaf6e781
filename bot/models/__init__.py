"""Who writes the answer: LangChain chat models, chosen by name in :mod:`bot.models.choose`."""
