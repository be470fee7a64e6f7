"""Measure the page: `python tests/phone/measure.py`.

Figures of a busy machine are worth little; its load is printed too.
"""

from __future__ import annotations

import asyncio
import os
from statistics import median

from phone_house import House, open_house_of_its_own
from playwright.async_api import Page, expect

ROUNDS = 7

OPENED = """
async () => {
  const row = document.querySelector(".row");
  const began = performance.now();
  row.click();
  await new Promise((done) => {
    const look = () => {
      if (document.querySelector(".entry")) requestAnimationFrame(() => setTimeout(done));
      else requestAnimationFrame(look);
    };
    look();
  });
  return performance.now() - began;
}
"""
"""Milliseconds from the click on a chat until its messages are drawn."""

FRAMES = """
seconds => new Promise((done) => {
  const began = performance.now();
  let last = began, longest = 0, count = 0;
  const step = (now) => {
    longest = Math.max(longest, now - last);
    last = now;
    count += 1;
    if (now - began < seconds * 1000) requestAnimationFrame(step);
    else done([count / seconds, longest]);
  };
  requestAnimationFrame(step);
})
"""
"""Frames a second over some seconds, and the longest pause between two in milliseconds."""


async def first_paint(house: House) -> float:
    """Seconds from the request to the first contentful paint, in a browser that knows nothing of the page yet."""
    page = await house.page()
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    while not (milliseconds := await page.evaluate(paint)):
        await page.evaluate("new Promise(requestAnimationFrame)")
    await page.context.close()
    return milliseconds / 1000


async def opening(house: House) -> float:
    """Seconds until the chat of ten thousand messages is drawn after the click on it."""
    page = await house.page(at="?person=alice")
    await expect(page.locator(".row")).to_be_visible()
    milliseconds = await page.evaluate(OPENED)
    await page.context.close()
    return milliseconds / 1000


async def storm(house: House, page: Page, *, rate: int, seconds: int) -> tuple[float, float]:
    """Frames a second and the longest pause while so many messages arrive each second."""

    async def write() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(rate * seconds):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            await house.gateway.rules.post_message(user_id, "1@im.bot", text=f"storm {number}")

    user_id = (await house.gateway.rules.people())[0].user_id
    writing = asyncio.create_task(write())
    frames, pause = await page.evaluate(FRAMES, seconds)
    await writing
    await expect(page.get_by_text(f"storm {rate * seconds - 1}", exact=True)).to_be_in_viewport()
    return frames, pause


async def crowd(house: House, count: int) -> float:
    """Seconds until the panel of bots is drawn among so many people, each with a bot, all in chats with the first."""
    names = [f"person {number:04}" for number in range(count)]
    await house.put_scene(
        people=[{"name": name} for name in names],
        bots=[{"id": f"b{number:04}@im.bot", "owner": name} for number, name in enumerate(names)],
        messages=[{"person": name, "bot": "b0000@im.bot", "direction": "in", "text": "hi"} for name in names],
    )
    page = await house.page(at="?person=person 0000&panel=bots")
    await expect(page.locator(".window")).to_have_count(8)
    milliseconds = await page.evaluate("performance.now()")
    await page.context.close()
    return milliseconds / 1000


async def main() -> None:
    async with open_house_of_its_own() as house:
        paints = [await first_paint(house) for _ in range(ROUNDS)]
        print(f"first paint: {median(paints):.2f} s ({min(paints):.2f} to {max(paints):.2f})")
        messages = [
            {
                "person": "alice",
                "bot": "1@im.bot",
                "direction": "out" if number % 2 else "in",
                "text": f"message {number} " + "and so on " * (number % 13),
            }
            for number in range(10_000)
        ]
        bot = {"id": "1@im.bot", "owner": "alice", "token": "1@im.bot:token"}
        await house.put_scene(people=[{"name": "alice"}], bots=[bot], messages=messages)
        openings = [await opening(house) for _ in range(ROUNDS)]
        print(f"chat of 10,000 opens: {median(openings):.2f} s ({min(openings):.2f} to {max(openings):.2f})")
        page = await house.page(at="?person=alice&bot=1@im.bot")
        await expect(page.locator(".entry").first).to_be_visible()
        frames, pause = await storm(house, page, rate=100, seconds=10)
        print(f"100 messages/s: {frames:.0f} frames/s, longest pause {pause:.0f} ms")
        print(f"panel of bots among 5,000 people with 5,000 bots: {await crowd(house, 5000):.2f} s")
        print(f"load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    asyncio.run(main())
