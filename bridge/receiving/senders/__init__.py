"""The catalogue of senders: how each signs, what it wants answered, one row a sender."""
