"""The sandbox's tenants of SuperOffice Online: address, state, and the address they moved from.

A host is the first part of a path, so `/online1/Cust12345/api` and `/online2/Cust12345/api` are a tenant on two hosts.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.sandbox.answers import HttpAnswer, page
from bridge.sandbox.faults import readable
from bridge.times import iso

STATE = "/api/state/"  # where it is asked for, before the tenant's id
State = Literal[
    "Unknown",
    "Provisioning",
    "Running",
    "Deleted",
    "Suspended",
    "OnlineMaintenance",
    "OfflineMaintenance",
    "ProvisioningFailed",
    "Deleting",
    "DeleteFailed",
    "MigrationPending",
]
STATES: tuple[str, ...] = get_args(State)
_MOST = 1000  # tenants that are told of


class OnlineTenant(BaseModel):
    """One tenant. `api` is said to be its URL instead of where it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    state: State = "Running"
    host: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,30}$")] = "online1"
    valid_for: Annotated[float, Field(ge=-1e9, le=1e9)] = 3600  # seconds
    left_behind: Literal[404, 421, 503] = 421
    api: Annotated[str, Field(max_length=4096)] | None = None


class Tenants:
    """All tenants; one that nobody told of is running on `online1`. `now` gives milliseconds since 1970."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._told: dict[str, OnlineTenant] = {}

    def set(self, tenant: str, /, **changed: Any) -> OnlineTenant:
        """Change a tenant: what is not given stays as it is.

        Raises:
            ValueError: a value is wrong, or these are too many tenants.
        """
        before = self._told.get(tenant.lower())
        given = (before.model_dump() if before else {}) | changed | {"tenant": tenant}
        try:
            now = OnlineTenant.model_validate(given)
        except ValidationError as problem:
            raise ValueError(readable(problem)) from None
        if before is None and len(self._told) >= _MOST:
            raise ValueError(f"more than {_MOST} tenants, forget them by DELETE")
        self._told[tenant.lower()] = now
        return now

    def set_from_json(self, text: bytes) -> None:
        """Change a tenant by a JSON object, such as `{"tenant": "Cust12345", "host": "online2"}`.

        Raises:
            ValueError: what is wrong with it.
        """
        match orjson.loads(text):
            case {"tenant": str() as tenant} as given:
                self.set(tenant, **given)
            case _:
                raise ValueError('name the tenant, as in {"tenant": "Cust12345", "host": "online2"}')

    def as_json(self) -> list[dict[str, Any]]:
        """Those that were told of."""
        return [tenant.model_dump() for tenant in self._told.values()]

    def forget(self) -> None:
        """Let every tenant be as if nobody had told of it."""
        self._told.clear()

    def state(self, tenant: str, base: str) -> HttpAnswer:
        """What the state endpoint says of a tenant; `base` is the sandbox's URL."""
        try:
            told = self._told.get(tenant.lower()) or OnlineTenant(tenant=tenant)
        except ValidationError:
            return page(404)
        endpoint = f"{base}/{told.host}/{told.tenant}"
        return HttpAnswer(
            200,
            orjson.dumps(
                {
                    "ContextIdentifier": told.tenant,
                    "Endpoint": endpoint,
                    "State": told.state,
                    "IsRunning": told.state == "Running",
                    "ValidUntil": iso(self._now() + int(told.valid_for * 1000)),
                    "Api": f"{endpoint}/api" if told.api is None else told.api,
                }
            ),
        )

    def instead(self, path: str) -> HttpAnswer | None:
        """What is answered at a path such as `online1/Cust12345` where the tenant is not there, or does not run."""
        if not self._told:
            return None
        host, _, tenant = path.rpartition("/")
        told = self._told.get(tenant.lower())
        if told is None or not host:
            return None
        if told.host != host:
            return page(told.left_behind)
        return None if told.state == "Running" else page(503)
