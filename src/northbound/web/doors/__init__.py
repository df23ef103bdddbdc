"""The vendors' own management interfaces, the half that reads and changes what is set up."""
