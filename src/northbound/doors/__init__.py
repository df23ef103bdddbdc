"""The vendors' own management interfaces, the pure half: reading calls, checking signatures, writing answers."""
