"""The schema, as SQLAlchemy Core tables; it suits SQLite and PostgreSQL alike.

Bodies, headers, attributes and results are bytes: they hold what strangers send, and PostgreSQL's text refuses NUL.
Times are milliseconds since 1970. Those that people read are by the wall clock: `received_at`, `created_at`,
`delivered_at`, `started_at`, `asked_at`, `valid_until`, `paused_at_wall` and an event's `claimed_at`. The others, which
decide something, are by the running clock (`bridge.clock`). `seq` is the order of commit.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    false,
    literal_column,
)

from bridge.store.dialects import SEQ

metadata = MetaData()


def _seq() -> Column[int]:
    return Column("seq", SEQ, primary_key=True, autoincrement=True)


webhooks = Table(
    "webhooks",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("dedupe_key", Text),
    Column("head", LargeBinary, nullable=False),  # JSON: method, query, headers
    Column("body", LargeBinary, nullable=False),
    Column("why", LargeBinary),  # JSON: error, rules; only where not every rule that should have fired did
    # Whether it failed by a bound of size or time: its duplicates don't map it again.
    Column("bounded", Boolean, nullable=False, server_default=false()),
    Column("repaired", Boolean, nullable=False, server_default=false()),  # read, but not quite as its sender said
    Column("stored_at", BigInteger),  # None in rows of before there were two clocks: `received_at` stands for it
)

# Who came first with a delivery id. A table of its own, since the same id may come again after the window.
dedupe = Table(
    "dedupe",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
)

# The webhooks that came again, apart from them: to count there would write a body anew.
duplicates = Table(
    "duplicates",
    metadata,
    Column("webhook_id", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("differing", Integer, nullable=False),  # how many brought another body
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("webhook_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("item_key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("attributes", LargeBinary, nullable=False),  # JSON: as the rule made them, as far as `text` does not tell
    Column("text", LargeBinary, nullable=False),  # the Attributes string that is sent
    Column("on_unknown", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),  # claims so far: the fence
    Column("retries", Integer, nullable=False),  # those that count towards max_attempts and the growing waits
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("claimed_at", BigInteger),
    Column("lease_until", BigInteger),
    Column("probe", Boolean, nullable=False),  # whether the claim under way probes a paused target
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Column("max_age", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),  # on the target's own clock, which stops while it is paused
    Column("order_key", Text),  # events of one target, source and key are sent one after another
    Column("headers", LargeBinary),  # JSON: those of its rule, where it has some
    Column("unclear", Integer, nullable=False, server_default="0"),  # answers that nobody understood
    Column("form", Text),  # how `text` tells the attributes; NULL where it does not, and `attributes` has them all
    Column("stored_at", BigInteger),  # as `created_at`, which stands for it in rows of before there were two clocks
    Column("traceparent", Text),  # of the trace that it belongs to (https://www.w3.org/TR/trace-context/)
    Index("ix_events_webhook", "webhook_id"),
)

# A partial index is used only where the query repeats its condition literally, not as a bound parameter.
is_pending = events.c.state == literal_column("'pending'")
is_sending = events.c.state == literal_column("'sending'")
is_held = events.c.state == literal_column("'held'")

Index(
    "ix_events_due",
    events.c.target,
    events.c.next_attempt_at,
    events.c.seq,
    sqlite_where=is_pending,
    postgresql_where=is_pending,
)
# What keeps later events of the same key waiting.
is_blocking = events.c.state.in_([literal_column("'pending'"), literal_column("'sending'"), literal_column("'held'")])
_is_ordered = and_(events.c.order_key.is_not(None), is_blocking)
Index(
    "ix_events_order",
    events.c.target,
    events.c.source,
    events.c.order_key,
    events.c.seq,
    sqlite_where=_is_ordered,
    postgresql_where=_is_ordered,
)
is_delivered_in_order = and_(events.c.order_key.is_not(None), events.c.state == literal_column("'delivered'"))
Index(
    "ix_events_delivered_in_order",
    events.c.target,
    events.c.source,
    events.c.order_key,
    events.c.seq,
    sqlite_where=is_delivered_in_order,
    postgresql_where=is_delivered_in_order,
)
Index("ix_events_held", events.c.target, sqlite_where=is_held, postgresql_where=is_held)
Index("ix_events_sending", events.c.lease_until, sqlite_where=is_sending, postgresql_where=is_sending)

attempts = Table(
    "attempts",
    metadata,
    _seq(),
    Column("event_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("duration", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("detail", Text, nullable=False),
    Column("result", LargeBinary),  # JSON: WorkflowEventResult or the error body
    Column("late", Boolean, nullable=False),
    Column("probe", Boolean, nullable=False),
    Index("ix_attempts_event", "event_id"),
)

targets = Table(
    "targets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("paused_at", BigInteger),
    Column("reason", Text, nullable=False),
    Column("by_operator", Boolean, nullable=False),
    Column("paused_total", BigInteger, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("next_probe_at", BigInteger),
    Column("ages", Boolean, nullable=False, server_default=false()),  # whether max_age goes on in its pause
    Column("paused_at_wall", BigInteger),  # as `paused_at`, which stands for it in rows of before there were two clocks
    Column("version", Integer, nullable=False, server_default="1"),  # one up with each change
)

# One row: where both clocks stood when they were last looked at. `boot` names the machine's start that `since_boot`
# counts from.
clock = Table(
    "clock",
    metadata,
    Column("running", BigInteger, nullable=False),
    Column("wall", BigInteger, nullable=False),
    Column("since_boot", BigInteger, nullable=False),
    Column("boot", Text),
)

# When each running instance last proved that it can commit, by the wall clock.
readiness = Table(
    "readiness",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)

handed_over = Table(
    "handed_over",
    metadata,
    _seq(),
    Column("source", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("client", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

# URLs from which a sender's key verified a webhook.
key_urls = Table(
    "key_urls",
    metadata,
    Column("source", Text, primary_key=True),
    Column("url", Text, primary_key=True),
    Column("proven_at", BigInteger, nullable=False),
)

# What was last said of the tenants of SuperOffice Online, for people to see.
tenants = Table(
    "tenants",
    metadata,
    Column("target", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("running", Boolean, nullable=False),
    Column("url", Text),
    Column("asked_at", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False),
)

# Refresh tokens that log-in services gave in place of the configured ones, sealed: nobody can read them here.
refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("target", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
