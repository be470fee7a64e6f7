"""Many people write with one call."""

from __future__ import annotations


async def test_every_message_of_a_crowd_is_stored_in_its_order(api, friend, alice) -> None:
    messages = [{"user_id": alice, "bot_id": friend.bot_id, "text": f"number {n}"} for n in range(50)]
    answer = await api.post("/_sim/messages", {"messages": messages})
    assert answer.status == 200
    assert [each["posted"]["seq"] for each in answer.body["messages"]] == list(range(1, 51))
    updates = await friend.poll()
    texts = [update["item_list"][0]["text_item"]["text"] for update in updates["msgs"]]
    assert texts == [f"number {n}" for n in range(len(texts))]
    assert texts


async def test_a_message_that_is_refused_keeps_none_of_the_others(api, friend, alice) -> None:
    right = {"user_id": alice, "bot_id": friend.bot_id, "text": "hello"}
    wrong = [{**right, "user_id": "nobody@im.wechat"}, {**right, "bot_id": "none@im.bot"}, {**right, "items": []}]
    answer = await api.post("/_sim/messages", {"messages": [*wrong, right]})
    codes = [each.get("error", {}).get("code") for each in answer.body["messages"]]
    assert codes == ["not_found", "not_found", "invalid", None]
    assert [len(each) for each in answer.body["messages"]] == [1, 1, 1, 1]
    assert len((await friend.poll())["msgs"]) == 1


async def test_a_crowd_has_a_limit_and_a_shape(api, friend, alice) -> None:
    one = {"user_id": alice, "bot_id": friend.bot_id, "text": "hello"}
    for body in ({"messages": [one] * 2_001}, {"messages": [{"text": "to whom?"}]}, {}):
        assert (await api.post("/_sim/messages", body)).status == 422
    assert (await api.post("/_sim/messages", {"messages": []})).body == {"messages": []}
