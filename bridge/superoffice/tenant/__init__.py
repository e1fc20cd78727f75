"""Tenants of SuperOffice Online: where each is, and whether it runs."""
