"""What a verified webhook means: its body is read, then mapped; whatever goes wrong is a state, not an error."""

from bridge.errors import Unreadable
from bridge.mapping.rules import Rules
from bridge.model import Mapping, Webhook, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving import body


def interpret(rules: Rules, webhook: Webhook, *, explain: bool = False) -> Mapping:
    """Map a webhook. `explain`: why each rule that did not match did not, also where others did."""
    try:
        read = body.read(webhook.headers, webhook.body, rules.content, rules.max_body, rules.max_depth)
        return rules.map(webhook, read, explain=explain)
    except Unreadable as error:
        return rules.without_events(webhook, WebhookState.UNREADABLE, str(error))
    except Exception as error:
        log.error(logs.MAPPING_FAILED, webhook_id=webhook.id, source=webhook.source, **logs.where(error))
        told = f"the bridge itself failed ({type(error).__name__}), please report it"
        return rules.without_events(webhook, WebhookState.FAILED, told)
