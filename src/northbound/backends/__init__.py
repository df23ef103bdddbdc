"""The storages and the sender: one folder per outside technology, unaware of each other."""
