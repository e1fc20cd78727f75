"""What senders ask of a URL beside their webhooks, and what is answered."""
