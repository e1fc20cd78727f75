"""`bridge doctor`: what would keep a target's events from being delivered now."""
