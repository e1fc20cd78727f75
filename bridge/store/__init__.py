"""The durable record: every webhook, event and attempt, written by one thread, one transaction for many callers."""
