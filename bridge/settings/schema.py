"""The schema of `bridge.yaml`: every key with its description and default. Targets are in `target_schema`.

Meaning is checked by the rooms that know it: schemes, event types, expressions, names of targets in rules.
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from bridge.settings.keywords import JsonSchema
from bridge.settings.parsing import (
    Duration,
    HeaderSecret,
    Name,
    Network,
    Networks,
    Size,
    Strict,
    duration,
    size,
    wrong,
)
from bridge.settings.target_schema import TargetSettings

Port = Annotated[int, Field(ge=0, le=65_535)]
Text = Annotated[str, Field(min_length=1)]


def _store_url(url: str) -> str:
    if url.startswith(("postgresql:", "postgres:", "postgresql+")):
        raise wrong("serving from PostgreSQL is not available yet", "use sqlite:///var/bridge.db")
    path = url.removeprefix("sqlite:///")
    if path == url or not path.strip("/") or path.startswith(":") or "?" in path:
        raise wrong(
            "is not the URL of a SQLite file", "write sqlite:///var/bridge.db, or sqlite://// and an absolute path"
        )
    return url


class ListenSettings(Strict):
    """The public port, where webhooks come in."""

    host: Text = Field("0.0.0.0", description="the address to listen on")  # noqa: S104  # webhooks come from outside
    port: Port = Field(8080, description="the port to listen on, 0 for any free one")
    max_body: Size = Field(size("1MiB"), gt=0, description="the largest body of a webhook")


class AdminSettings(Strict):
    """The admin port: API, metrics, readiness with reasons."""

    host: Text = Field("127.0.0.1", description="the address to listen on")
    port: Port = Field(8081, description="the port to listen on, 0 for any free one")
    token: HeaderSecret = Field(description="the bearer token that every request must carry")


class StoreSettings(Strict):
    """Where webhooks, events and attempts are kept."""

    url: Annotated[str, AfterValidator(_store_url), JsonSchema(pattern=r"^sqlite:///[^:?][^?]*$")] = Field(
        "sqlite:///var/bridge.db",
        description="the SQLite file, relative to the parent of the configuration's directory",
    )
    keep: Duration = Field(duration("90d"), gt=0, description="how long they are kept")


class LogSettings(Strict):
    """The log on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least severe lines to write")
    format: Literal["auto", "json", "pretty"] = Field("auto", description="auto is pretty on a terminal, else json")


class DrainSettings(Strict):
    """How the bridge stops."""

    grace: Duration = Field(duration("5s"), description="how long it goes on accepting webhooks")
    timeout: Duration = Field(duration("30s"), gt=0, description="how long attempts in flight may take to finish")


class BridgeSettings(Strict):
    """`bridge.yaml`."""

    listen: ListenSettings = Field(ListenSettings(), description="the public port, where webhooks come in")
    admin: AdminSettings | None = Field(None, description="the admin port; there is none where this is left out")
    store: StoreSettings = Field(StoreSettings(), description="where webhooks, events and attempts are kept")
    log: LogSettings = Field(LogSettings(), description="the log on standard output")
    drain: DrainSettings = Field(DrainSettings(), description="how the bridge stops")
    addresses: Networks | None = Field(None, description="as a source's addresses, for those that set none")
    trusted_proxies: tuple[Network, ...] = Field((), description="as a source's, for those that set none")
    targets: dict[Name, TargetSettings] = Field(min_length=1, description="the SuperOffice installations, by name")
    default_target: Text | None = Field(None, description="the target of rules that name none")

    @field_validator("default_target")
    @classmethod
    def _is_a_target(cls, name: str, info: ValidationInfo) -> str:
        targets = info.data.get("targets")
        if targets and name not in targets:
            raise wrong("is not one of the targets", f"name one of {', '.join(targets)}")
        return name
