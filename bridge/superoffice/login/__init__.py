"""Log-ins: an httpx.Auth for each scheme, and the credentials that they fetch and keep."""
