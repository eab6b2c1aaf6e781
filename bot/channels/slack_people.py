"""How people in Slack are called. Knows nothing of what they say."""

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.channels.slack_errors import is_down

MOST_PEOPLE = 10_000  #: whose names are kept


class People:
    """Names of people, looked up once; also where Slack refuses to say them."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def name(self, user: str) -> str:
        """Return how a person is called, by their id where Slack does not say it."""
        if user not in self._names:
            if len(self._names) >= MOST_PEOPLE:
                self._names.clear()
            try:
                said = await self._client.users_info(user=user)
            except SlackApiError as error:
                if not is_down(error):  # without the scope users:read it will not be said later
                    self._names[user] = user
                return user
            known = said.get("user") or {}
            profile = known.get("profile") or {}
            names = (profile.get("display_name"), profile.get("real_name"), known.get("name"))
            self._names[user] = next(filter(None, names), user)
        return self._names[user]
