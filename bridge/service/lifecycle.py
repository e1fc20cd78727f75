"""One run of the bridge: start what was built, serve, drain, stop."""

import asyncio
import contextlib
import gc
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bridge import __version__
from bridge.errors import StoreUnavailable
from bridge.forwarding.breaker import Breaker
from bridge.forwarding.forwarder import Forwarder
from bridge.forwarding.retry import Policy
from bridge.forwarding.target_worker import TargetWorker
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.metrics import Gauges, Metrics
from bridge.observing.supervisor import Supervisor
from bridge.observing.transitions import Transitions, log_transition
from bridge.operations import retention, timekeeping
from bridge.operations.actions.operator import Operator
from bridge.operations.queries import Queries
from bridge.rate import Bucket
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.addresses import Callers
from bridge.receiving.off_loop import OffLoop
from bridge.receiving.processing import Processor
from bridge.service import file_limits
from bridge.service.composition import Generation, build
from bridge.service.signals import Signals
from bridge.service.version_watches import version_watches
from bridge.settings.fingerprint import fingerprint
from bridge.settings.target_schema import TargetSettings
from bridge.store import database, target_states
from bridge.store.reader import Reader
from bridge.store.store import Store, owned
from bridge.superoffice.send_event import SuperOffice
from bridge.target_state import TenantState
from bridge.web import admin, public
from bridge.web.serving import Serving, inherited_listener, listen

_DIFFER = "the files differ from what runs, whose rules these are; restart the bridge to run what the files say"
_READERS = 2  # connections kept for scrapes and for who looks at the record
_READY_FOR = 1.0  # seconds that a proof of readiness is good for


def serve(directory: Path) -> None:
    """Run a bridge until it is told to stop.

    Raises:
        ConfigError, BridgeError: why it cannot start.
    """
    signals = Signals()
    built = build(directory, _read_again, fingerprint(directory))
    logs.configure(built.settings.log.level, built.settings.log.format)
    for problem in built.problems:
        log.warning(logs.CONFIG_WARNED, problem=str(problem))
    if told := file_limits.allow(built.settings.targets.values()):
        log.warning(logs.CONFIG_WARNED, problem=told)
    with owned(built.store_url) as engine, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Bridge(built, Store(engine), lambda: fingerprint(directory)).run(signals))


def _read_again(file: Path, wrong: str) -> None:
    (log.warning if wrong else log.info)(logs.SECRET_READ, file=str(file), problem=wrong or None)


class _Bridge:
    """One run, from settling what the last run left to the drained end. `fingerprint` is that of the files now.

    `_generation` is the configuration in force: to exchange it here is to exchange it for all that comes from then on.
    """

    def __init__(self, generation: Generation, store: Store, fingerprint: Callable[[], str | None]) -> None:
        self._generation = generation
        self._fingerprint = fingerprint
        self._settings = generation.settings
        self._store = store
        self._reader = Reader(generation.store_url, kept=_READERS)
        self._metrics = Metrics()
        self._metrics.watch(self._gauges)
        self._transitions = Transitions(log_transition)
        self._versions = version_watches(generation)
        self._remembering: set[asyncio.Task[None]] = set()
        target_workers = {
            name: self._target_worker(name, superoffice, self._settings.targets[name])
            for name, superoffice in generation.targets.items()
        }
        self._supervisor = Supervisor(lambda name: self._metrics.task_failures[name].inc())
        self._forwarder = Forwarder(store, target_workers, supervisor=self._supervisor)
        self._off_loop = OffLoop()
        reporter = IntakeReporter(self._metrics)
        self._intake = Intake(store, reporter, self._forwarder.wake, off_loop=self._off_loop)
        self._webhooks = public.Webhooks(
            self._intake, reporter, lambda: self._generation.sources, callers=Callers(self._settings.trusted_proxies)
        )
        self._passed = inherited_listener()
        self._proven_at = -_READY_FOR
        self._unready: list[str] = []
        self._ready = False

    def _target_worker(self, name: str, superoffice: SuperOffice, settings: TargetSettings) -> TargetWorker:
        policy = Policy(settings.retry)
        superoffice.keep_by(_Keeping(self._store, name))
        if superoffice.tenant:
            superoffice.tenant.on_state = self._remember
        return TargetWorker(
            name=name,
            send=self._versions[name].noticing(superoffice.send) if name in self._versions else superoffice.send,
            policy=policy,
            breaker=Breaker(settings.breaker.after, policy),
            bucket=Bucket(settings.rate.count, settings.rate.per),
            max_in_flight=settings.max_in_flight,
            lease=2 * settings.timeout + 10_000,
            store=self._store,
            metrics=self._metrics,
            transitions=self._transitions,
            log_answers=settings.log_answers,
        )

    async def run(self, signals: Signals) -> None:
        signals.listen()
        await self._store.start()
        await self._intake.start(self._generation.sources)
        settled = await self._forwarder.recover()
        serving = self._open()
        self._forwarder.start()
        self._supervisor.start("retention", partial(retention.run, self._store, self._settings.store.keep))
        self._supervisor.start("timekeeping", partial(timekeeping.run, self._store))
        for name, watch in self._versions.items():
            self._supervisor.start(f"version {name}", watch.run)
        self._ready = True
        log.info(logs.BRIDGE_STARTED, **self._report(serving), settled=settled)
        self._warn_of_unknown_targets()
        gc.collect()
        gc.freeze()  # what was loaded so far stays for good: no collection need look at it again
        gc.set_threshold(20_000, 20, 20)  # a webhook's values are no cycles: to look for some every 700 costs 5 %
        await signals.stop.wait()
        await self._drain(serving)

    def _open(self) -> list[Serving]:
        listener = self._passed or listen(self._settings.listen.host, self._settings.listen.port)
        application = public.application(self._webhooks, self._is_ready)
        serving = [Serving(application, listener, self._webhooks.connections)]
        if self._settings.admin:
            listener = listen(self._settings.admin.host, self._settings.admin.port)
            guarded = admin.application(
                self._settings.admin.token, self._metrics, self._reasons, self._operator, self._supervisor.failing
            )
            serving.append(Serving(guarded, listener, guarded.connections))
        for one in serving:
            one.start()
        return serving

    def _operator(self) -> Operator:
        generation = self._generation
        queries = Queries(
            reader=self._reader,
            rules={name: source.rules for name, source in generation.sources.items()},
            names=generation.names,
            target_urls={name: target.url for name, target in generation.settings.targets.items()},
            note=lambda: _DIFFER if self._fingerprint() != generation.fingerprint else None,
        )
        processor = Processor(self._off_loop)
        return Operator(
            store=self._store,
            queries=queries,
            wake=self._forwarder.wake,
            changed=self._forwarder.changed,
            processor=processor,
            transitions=self._transitions,
        )

    async def _drain(self, serving: list[Serving]) -> None:
        grace, timeout = self._settings.drain.grace / 1000, self._settings.drain.timeout / 1000
        self._ready = False
        log.info(logs.BRIDGE_DRAINING, grace_seconds=grace, timeout_seconds=timeout)
        await asyncio.sleep(grace)  # load balancers see /readyz meanwhile, and send elsewhere
        if self._passed:
            await serving[0].stop()  # what has come in is answered still; what comes now queues for the next bridge
        self._webhooks.closing = True
        unfinished = await self._forwarder.drain(timeout)
        await asyncio.gather(*(one.stop() for one in serving))
        await asyncio.gather(*(superoffice.close() for superoffice in self._generation.targets.values()))
        await self._supervisor.stop()
        self._off_loop.close()
        self._reader.close()
        await asyncio.to_thread(self._store.close)
        log.info(logs.BRIDGE_STOPPED, unfinished=unfinished)

    def _remember(self, tenant: TenantState) -> None:
        """Keep what was said of a tenant, for people to see; no event waits for that, or fails with it."""

        async def save() -> None:
            with contextlib.suppress(StoreUnavailable):
                await self._store.save_tenant(tenant)

        task = asyncio.create_task(save())
        self._remembering.add(task)
        task.add_done_callback(self._remembering.discard)

    async def _is_ready(self) -> bool:
        return not await self._reasons()

    async def _reasons(self) -> list[str]:
        """Why intake could not commit now; a proof is good for a second, so that asking often costs nothing."""
        if not self._ready:
            return ["the bridge is stopping"]
        if monotonic() - self._proven_at >= _READY_FOR:
            try:
                await self._store.ping()
                self._unready = []
            except StoreUnavailable as error:
                self._unready = [f"the store cannot commit: {error}"]
            self._proven_at = monotonic()
        return self._unready

    def _gauges(self) -> Gauges:
        moment = self._store.clock.running()
        with self._reader.reading() as connection:
            backlog, states = target_states.backlog(connection), target_states.load(connection)
        return Gauges(
            backlog={name: (its.pending, (moment - its.oldest_stored_at) / 1000) for name, its in backlog.items()},
            paused={name: target_states.of(states, name).paused_at is not None for name in self._generation.targets},
        )

    def _warn_of_unknown_targets(self) -> None:
        with self._reader.reading() as connection:
            for name, its in target_states.backlog(connection).items():
                if name not in self._generation.targets:
                    log.error(logs.TARGET_UNKNOWN, target=name, pending=its.pending)

    def _report(self, serving: list[Serving]) -> dict[str, Any]:
        """What runs here, for the first line of the log."""
        return {
            "version": __version__,
            "listen": serving[0].address,
            "admin": serving[1].address if len(serving) > 1 else None,
            "store": str(database.sqlite_path(self._generation.store_url)),
            "schema": database.newest_version(),
            "sources": [
                {"name": source.name, "scheme": source.verifier.scheme, "rules": len(source.rules.rules)}
                for source in self._generation.sources.values()
            ],
            "targets": [{"name": name, "url": target.place} for name, target in self._settings.targets.items()],
            "libraries": {name: version(name) for name in ("starlette", "uvicorn", "httpx", "httptools", "sqlalchemy")},
        }


class _Keeping:
    """Keeps one target's refresh token in the store."""

    def __init__(self, store: Store, target: str) -> None:
        self._store = store
        self._target = target

    async def load(self) -> bytes | None:
        return await self._store.load_refresh_token(self._target)

    async def save(self, sealed: bytes) -> None:
        await self._store.save_refresh_token(self._target, sealed)
