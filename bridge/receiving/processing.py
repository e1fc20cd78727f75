"""Parses and maps a verified webhook; a failure becomes the webhook's state, not an exception.

Most webhooks take less than a millisecond, on the event loop. What takes long goes on off the loop, from the step that
it is at.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from bridge.content_codings import GZIP_MARK
from bridge.errors import Unreadable
from bridge.mapping.rules import Rules
from bridge.mapping.steps import Course, Steps, to_the_end
from bridge.model import Content, Mapped, Webhook, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving.content import body
from bridge.receiving.off_loop import SLICE, OffLoop, sharing_the_lock

# Bytes of a body that is read on the event loop: 20 ms, where nothing in it is text (100 lists deep, `<a/>` all over).
_AT_ONCE = {Content.JSON: 64 << 10, Content.FORM: 64 << 10, Content.XML: 32 << 10}
_ONE_TEXT = 1 << 20  # the same, of content that is not taken apart
_BLOWN_UP = 16  # how many times its size a compressed body may become, as a guess

CallOff = Callable[[Webhook, str], Awaitable[None]]
"""Told a webhook and its dedupe key, may raise to call a mapping off."""


def steps(rules: Rules, webhook: Webhook, *, explain: bool = False) -> Steps:
    """Read and map a webhook. `explain`: why each rule that did not match did not, also where others did."""
    try:
        if _is_long(rules, webhook):
            yield None
        read = body.read(webhook.headers, webhook.body, rules.content, rules.max_body, rules.max_depth)
        mapping = yield from rules.steps(webhook, read.value, explain=explain)
        return replace(mapping, repaired=True) if read.repaired else mapping
    except Unreadable as error:
        return rules.without_events(webhook, WebhookState.UNREADABLE, str(error))
    except Exception as error:
        log.error(logs.MAPPING_FAILED, webhook_id=webhook.id, source=webhook.source, **logs.where(error))
        told = f"the bridge itself failed ({type(error).__name__}), please report it"
        return rules.without_events(webhook, WebhookState.FAILED, told)


def _is_long(rules: Rules, webhook: Webhook) -> bool:
    size = len(webhook.body)
    if "content-encoding" in webhook.headers or webhook.body.startswith(GZIP_MARK):
        size *= _BLOWN_UP
    return size > _AT_ONCE.get(rules.content, _ONE_TEXT)


def process(rules: Rules, webhook: Webhook, *, explain: bool = False) -> Mapped:
    """Read and map a webhook here and now, for who waits for nothing else."""
    with sharing_the_lock:
        return to_the_end(steps(rules, webhook, explain=explain))


class Processor:
    """Maps webhooks, and lets an event loop go on meanwhile."""

    def __init__(self, off_loop: OffLoop | None = None) -> None:
        self._off_loop = off_loop or OffLoop()

    async def process(self, rules: Rules, webhook: Webhook, call_off: CallOff | None = None) -> Mapped:
        """Read and map a webhook; off the event loop once that takes long, and then `call_off` is asked before.

        Raises:
            Refused: earlier ones of its source take too long.
        """
        under_way = steps(rules, webhook)
        try:
            key = next(under_way)
        except StopIteration as done:
            mapping: Mapped = done.value
            return mapping
        if self._off_loop.is_busy(webhook.source):  # what was read takes many times its size, and must not wait
            under_way = steps(rules, webhook)
        return await self._off(Course(under_way, key), webhook, len(webhook.body), call_off)

    async def process_aside(self, rules: Rules, webhook: Webhook) -> Mapped:
        """Read and map a stored webhook, one of many perhaps, off the event loop. However long that takes."""
        return await self._off(Course(steps(rules, webhook)), webhook, 0, None)

    async def _off(self, course: Course, webhook: Webhook, size: int, call_off: CallOff | None) -> Mapped:
        async with self._off_loop.turn(webhook.source, size):
            while course.mapping is None:
                if call_off and course.key is not None:
                    if course.key:
                        await call_off(webhook, course.key)
                    call_off = None
                await self._off_loop.run(partial(course.go_on, SLICE))
        return course.mapping
