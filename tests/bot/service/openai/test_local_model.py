"""A real model of llama.cpp behind the interface: what a request asks of it, it does."""

from pathlib import Path
from types import ModuleType
from typing import Any


async def test_a_local_model_keeps_to_the_requests_limits(
    serve: Any, client: Any, pocket: ModuleType, tmp_path: Path
) -> None:
    """It stops after as many tokens as were asked for and says so, reads the instructions, and
    ends where a stop says."""
    made: Path = pocket.make_text_model(tmp_path / "tiny.gguf")
    settings = {"model": f"llama:{made}", "model_options": {"threads": 1}}
    question: dict[str, Any] = {
        "model": "default",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How tall is the lighthouse?"},
        ],
        "extra_body": {"citations": "none"},
    }
    async with serve(**settings) as served, client(served) as asks:
        whole = await asks.chat.completions.create(**question, temperature=0, seed=7)
        words = whole.choices[0].message.content
        assert whole.choices[0].finish_reason == "stop"
        assert len(words.split()) > 2
        cut = await asks.chat.completions.create(**question, max_completion_tokens=2)
        assert cut.choices[0].finish_reason == "length"
        assert cut.usage.completion_tokens == 2
        assert words.startswith(cut.choices[0].message.content.rstrip())
        stopped = await asks.chat.completions.create(**question, stop=words.split()[1])
        assert stopped.choices[0].message.content.strip() == words.split()[0]
        long = {"role": "system", "content": "Be brief. " * 2000}
        refused = await served.client.post(
            "/v1/chat/completions",
            json={"model": "default", "messages": [long, question["messages"][1]]},
        )
        assert refused.status_code == 400
        assert "shorten them" in refused.json()["error"]["message"]
