"""Webhooks become events here: expressions, the rules that use them, and the attributes they make."""
