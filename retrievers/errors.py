"""What can go wrong with a library, its encoders and its pictures.

RetrievalError
├── LibraryError          the library's folder or database cannot be used
│   ├── LibraryNotFound   there is no library of that name, or not for whoever asks
│   └── EncoderMismatch   the index was made with another encoder
├── EncoderError          an encoder cannot be loaded, or cannot take what it was given
├── PictureRefused        a picture is malformed, of a format that is not allowed, or too large
└── SourceRefused         a file cannot be read, is empty, encrypted, malformed or of no known kind

Every message is one line that names the value and the way out.
"""


class RetrievalError(Exception):
    """Base of every error of this package."""


class LibraryError(RetrievalError):
    """The library's folder or database cannot be used."""


class LibraryNotFound(LibraryError):
    """There is no library of that name, or none that whoever asks may read."""


class EncoderMismatch(LibraryError):
    """The index was made with another encoder than the one that asks."""


class EncoderError(RetrievalError):
    """An encoder cannot be loaded, or cannot take what it was given."""


class PictureRefused(RetrievalError):
    """A picture is malformed, of a format that is not allowed, or too large."""


class SourceRefused(RetrievalError):
    """A file cannot be read, is empty, encrypted, malformed or of no known kind."""
