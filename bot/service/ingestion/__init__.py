"""Files that are uploaded and taken into a library, in the background."""
