"""What goes wrong in Slack. Knows nothing of messages."""

from collections.abc import Mapping

from slack_sdk.errors import SlackApiError

#: What Slack says where the bot is not, or may not write
NOT_IN = frozenset(
    ("not_in_channel", "channel_not_found", "is_archived", "cannot_reply_to_message",
     "user_is_restricted", "messages_tab_disabled", "restricted_action",
     "restricted_action_read_only_channel", "restricted_action_non_threadable_channel",
     "restricted_action_thread_locked")
)  # fmt: skip
_DOWN = frozenset(
    ("ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout")
)


def code_of(error: SlackApiError) -> str:
    """Return what Slack says is wrong, such as ``missing_scope``; nothing where what came cannot be
    read, such as a page of a proxy."""
    said = getattr(error.response, "data", error.response)
    return str(said.get("error") or "") if isinstance(said, Mapping) else ""


def is_down(error: SlackApiError) -> bool:
    """Tell whether Slack cannot do it now, whatever it is; so it is where its answer cannot be
    read."""
    status = getattr(error.response, "status_code", 0)
    code = code_of(error)
    return int(status) >= 500 or not code or code in _DOWN
