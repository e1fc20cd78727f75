"""From the store to SuperOffice: claim, send, record; retries are rows that become due, not coroutines that sleep."""
