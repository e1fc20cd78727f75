"""Handshakes: requests that senders make of a URL beside their webhooks, and the answers."""
