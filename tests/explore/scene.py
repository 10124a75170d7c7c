"""What a program of a user's works with: the world, the real client, and a judge who hears all."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from attrs import define, field

from toolhouse_async import AsyncToolhouse, Session, ToolhouseError, Turn, TurnCompleted, TurnResult

from .seam import client_of
from .truth import Judge, Sending, Violation
from .world import AGENT, World

Found: TypeAlias = TurnResult | ToolhouseError | None


@define
class Scene:
    """What a program has.

    Attributes:
        world: The service.
        judge: Who is told all that happens.
        client: The real client.
        session: The conversation.
        told: A word for each outcome, for counts.
    """

    world: World
    judge: Judge = field(init=False)
    client: AsyncToolhouse = field(init=False)
    session: Session = field(init=False)
    told: list[str] = field(factory=list[str])

    def __attrs_post_init__(self) -> None:
        self.judge = Judge(self.world)
        self.client = client_of(self.world)
        self.session = self.client.session(AGENT)

    async def send(
        self,
        name: str,
        *,
        closes: bool = False,
        session: Session | None = None,
        turn: Turn | None = None,
        **options: Any,
    ) -> Sending:
        """Send a message and hold the outcome to the truth; ``closes`` where it may be closed before any event."""
        sending = self.judge.sends(self.world.words(name))
        try:
            turn = turn or (session or self.session).stream(sending.words, **options)
            await self._read(sending, turn, closes=closes)
        except ToolhouseError as error:
            sending.error = error
        except asyncio.CancelledError:
            self.told.append("cancelled")
            self.judge.is_over(sending)
            raise
        self.judge.is_over(sending)
        if sending.result is None and sending.error is None and not closes:
            raise Violation("a turn ends without a result or an error", repr(sending.events))
        self.told.append("ok" if sending.result else type(sending.error).__name__ if sending.error else "closed")
        return sending

    async def _read(self, sending: Sending, turn: Turn, *, closes: bool) -> None:
        async with turn:
            if closes and self._is_closed():
                return
            async for event in turn:
                sending.events.append(event)
                if isinstance(event, TurnCompleted):
                    sending.result = event.result
                elif closes and self._is_closed():
                    return

    def _is_closed(self) -> bool:
        return self.world.pick("turn", ("goes on", 0), ("closed", 0)) == "closed"

    async def before(self, name: str = "a", **options: Any) -> Sending:
        """A message that nothing happens to."""
        calm, self.world.calm = self.world.calm, True
        try:
            return await self.send(name, **options)
        finally:
            self.world.calm = calm

    async def reconcile(self, *before: Found) -> Found:
        """Ask what became of the last message, and hold it to the truth and to what was said ``before``."""
        found: Found
        try:
            found = await self.session.reconcile()
        except ToolhouseError as error:
            found = error
        for each in before:
            self.judge.is_consistent(each, found)
        if not any(isinstance(each, TurnResult) for each in before):
            self.judge.reconciled(found, self.session.run_id)
        said = "None" if found is None else "found" if isinstance(found, TurnResult) else type(found).__name__
        self.told.append(f"reconcile {said}")
        return found

    async def recover(self, sending: Sending, *before: Found) -> None:
        """The service works again: find out, twice, and go on; ``before`` is what was found out before."""
        self.world.calm = True
        knows = sending.result is not None
        if not knows:
            first = await self.reconcile(*before)
            knows = not isinstance(await self.reconcile(first, *before), ToolhouseError)
        await self.go_on(knows=knows)

    async def go_on(self, *, knows: bool) -> None:
        """The next message is answered, unless it is truly refused for an earlier one."""
        self.world.calm = True
        last = await self.send("z")
        if last.error is None:
            return
        self.judge.is_refused_truly(last.error, knows=knows)
        if not _takes_assume(self.session):
            return
        await self.session.reconcile(assume="absent")  # type: ignore[call-arg, unused-ignore] # where it is there
        last = await self.send("z")
        if last.error is not None:
            self.judge.is_refused_truly(last.error, knows=True)


def _takes_assume(session: Session) -> bool:
    code = type(session).reconcile.__code__
    return "assume" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
