"""Delivery from the store to SuperOffice: claim, send, record. Retries are rows that become due, not sleeping tasks."""
