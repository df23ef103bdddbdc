"""The nouns every floor shares: frozen structs and errors, without behaviour that decides anything."""
