"""The router as a model: it decides for each chat, and the answer names the model that it chose."""

import json

import pytest

from tests.serve.conftest import client_of, listening, make_worker
from tests.serve.test_api import CHAT, TEXT, events
from trivium.core.errors import ConfigError
from trivium.score.routing.store import load_routers
from trivium.serve.start import Place, serve
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single
from trivium.stages.use.chat import ROUTER
from trivium.stages.use.deciding import Decider
from trivium.studies.routing import planted_matches
from trivium.text.records import plain_match

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
CODE, POEM = "python function loop compile", "poem garden story music"


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    """Trained on matches in which `one` wins on programs and `two` on all else."""
    folder = tmp_path_factory.mktemp("router")
    rows = [plain_match(match) for match in planted_matches(effect=1.5, seed=1, prompts=80)]
    names = {"strong": "one", "weak": "two"}
    rows = [row | {"model_a": names[row["model_a"]], "model_b": names[row["model_b"]]} for row in rows]
    (folder / "matches.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"machine": MACHINE, "data": str(folder / "matches.jsonl"), "dim": 6, "routers": ["random", "preference"], "share": 0.5}
    execute(single("route", options), folder / "run", quiet=True)
    return folder / "run"


def asked(client, text: str, **more) -> dict:
    found = client.post("/v1/chat/completions", json=CHAT | {"model": ROUTER, "messages": [{"role": "user", "content": text}]} | more)
    assert found.status_code == 200, found.text
    return found.json()


def test_it_answers_with_the_model_that_it_chose_and_names_it(router):
    decider = Decider.open(router, kind="preference")
    with client_of(make_worker(), router=decider) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["one", "two", ROUTER]
        assert client.get(f"/v1/models/{ROUTER}").status_code == 200
        for text, name in ((CODE, "one"), (POEM, "two")):
            found = asked(client, text)
            direct = client.post(
                "/v1/chat/completions", json=CHAT | {"model": name, "messages": [{"role": "user", "content": text}]}
            ).json()
            assert found["model"] == name
            assert found["choices"] == direct["choices"]
            body = CHAT | {"model": ROUTER, "messages": [{"role": "user", "content": text}], "stream": True}
            assert {chunk["model"] for chunk in events(client.post("/v1/chat/completions", json=body))} == {name}


def test_it_reads_chats_only_and_is_there_only_where_there_is_one(router):
    with client_of(make_worker(), router=Decider.open(router)) as client:
        refused = client.post("/v1/completions", json=TEXT | {"model": ROUTER})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    with client_of(make_worker()) as client:
        assert client.post("/v1/chat/completions", json=CHAT | {"model": ROUTER}).status_code == 404
        assert client.post("/v1/completions", json=TEXT | {"model": ROUTER}).status_code == 404


def test_a_share_and_a_price_decide_as_trivium_route_does(router):
    stored = load_routers(router / "route" / "router")
    assert stored.choices() == (stored.facts["strong"], stored.facts["weak"])
    with client_of(make_worker(), router=Decider.open(router, share=1.0)) as client:
        assert {asked(client, text)["model"] for text in (CODE, POEM)} == {stored.facts["strong"]}
    with pytest.raises(ConfigError, match="without costs"):
        Decider.open(router, price=1.0)


def test_a_router_of_other_models_is_refused_before_they_are_loaded(router):
    with pytest.raises(ConfigError, match=r"chooses among one, two|chooses among two, one"):
        Decider.open(router).check_among(["one"])
    with pytest.raises(ConfigError, match="--share and --price say how a router decides"):
        Decider.chosen(None, 0.5, None)
    assert Decider.chosen(None, None, None) is None
    with pytest.raises(ConfigError, match="a key is needed"):  # before anything is read
        serve(["nowhere"], Place(host="0.0.0.0"), lambda _: None, lambda: pytest.fail("opened"))


def test_it_routes_while_models_speak(router):
    """Over real connections, many at once."""
    import asyncio

    from scripts.server import ask, post

    async def many(port: int) -> list[str]:
        bodies = [CHAT | {"model": ROUTER, "messages": [{"role": "user", "content": (CODE, POEM)[number % 2]}]} for number in range(8)]
        replies = await asyncio.gather(*(ask(port, post("/v1/chat/completions", body)) for body in bodies))
        return [json.loads(reply.body)["model"] for reply in replies]

    with listening(make_worker(), router=Decider.open(router, kind="preference")) as port:
        assert asyncio.run(many(port)) == ["one", "two"] * 4
