"""From bytes to a stored webhook: prove that a request is genuine, read its body, map it, hand it to the store."""
