"""Logs and metrics. Beneath all rooms, so that all may use them."""
