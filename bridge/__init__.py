"""The bridge: webhooks in, SuperOffice workflow events out."""

__version__ = "0.1.0"
