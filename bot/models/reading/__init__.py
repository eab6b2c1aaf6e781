"""Reading: which stretch of the evidence answers a question. Pure functions, no weights, no I/O.

``words`` (stems, rarity) and ``amounts`` (money, dates) read single words; ``question`` says what
is asked for; ``units`` cuts evidence into what can be quoted; ``score`` says how well each unit
answers and ``shorten`` cuts it to length; ``pictures`` reads forms and receipts; ``plain`` makes a
quotation harmless; ``reader`` puts them together. None of them knows LangChain.
"""
