"""The web page at ``/``: NiceGUI, mounted in the service.

- ``mounting``       the page in the service: headers, what passes to NiceGUI, start and end
- ``sessions``       who is signed in: a cookie, and in Redis what it opens
- ``sign_in``        the form that takes an API key
- ``tab``            what one tab of a browser may do and is doing: turns, through every check
- ``rendering``      words of users, documents and models as HTML that can do nothing
- ``drawing``        pictures, small and with boxes, as data addresses
- ``layout``         the page itself
- ``talk``           questions and answers in it
- ``composer``       where a question is written and pictures are added
- ``evidence``       what a mark points at, opened; and why an answer is as it is
- ``conversations``  the list of conversations
- ``library``        uploads into a library, with progress

Only what is imported by ``layout`` needs NiceGUI, the extra ``web``.
"""
