"""Authentication with SuperOffice: an httpx.Auth for each scheme."""
