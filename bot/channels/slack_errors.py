"""What goes wrong in Slack. Knows nothing of messages."""

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


def is_down(error: SlackApiError) -> bool:
    """Tell whether Slack cannot do it now, whatever it is."""
    status = getattr(error.response, "status_code", 0)
    return int(status) >= 500 or error.response.get("error") in _DOWN
