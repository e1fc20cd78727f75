"""The HTTP client: connections, TLS, and an httpx transport over them."""
