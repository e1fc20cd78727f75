"""What the bridge shows of itself: logs and metrics. Beneath all rooms, so that all may use it."""
