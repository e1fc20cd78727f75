"""Tenants of SuperOffice Online: their addresses and states."""
