"""The bridge: webhooks in, SuperOffice workflow events out."""

from importlib.metadata import version

__version__ = version("superoffice-bridge")
