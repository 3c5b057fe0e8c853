"""Messages at the end that calls and shows: of wrong words, and of whom it shows no more."""

import asyncio
import io
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from receiver.incoming import Incoming
from receiver.options import ReceiverOptions
from receiver.pipeline import ReceiverCall
from receiver.sinks.loudspeaker import Loudspeaker
from receiver.stage import set_stage
from sender.__main__ import main
from sender.app import _answered
from sender.two_way import Display
from shared.codec.tables import CodecTables
from shared.errors import RequestError
from shared.interfaces import Backbone, Connection
from shared.protocol.events import Ended
from shared.protocol.liveness import Phase
from shared.runtime.console import Console
from shared.runtime.controls import Controls
from shared.runtime.deadline_executor import DeadlineExecutor


@pytest.mark.parametrize(
    "words", [["--avatar", "me.png"], ["--speaker", "none"], ["--playout-delay", "90"], ["--page", "::1:9"]]
)
def test_what_says_how_to_show_wants_to_be_told_that_there_is_to_be_shown(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as wrong:
        main(["--source", "demo", *words])
    assert wrong.value.code == 2
    assert f"{words[0]} only applies where the other side is shown; add --view" in capsys.readouterr().err


@pytest.mark.parametrize("delay", ["-5", "nan", "1e9"])
def test_a_playout_delay_that_none_has_is_refused_before_anybody_is_called(
    delay: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--source", "demo", "--connect", "http://127.0.0.1:9", "--token", "t" * 24, "--view", "none"]
    assert main([*words, "--playout-delay", delay]) == 2
    assert capsys.readouterr().err.startswith("error: The playout delay must be from 0 to ")


async def test_a_page_that_finds_its_port_taken_names_its_own_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.two_way.ready_models", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, DeadlineExecutor("inference") as inference:
        options = ReceiverOptions("127.0.0.1", taken.getsockname()[1], view="none", audio=False)
        display = Display(options, Console(io.StringIO(), io.StringIO()), page=True)
        with pytest.raises(RequestError, match=r"choose another with --page HOST:PORT\."):
            await display.load(cast(Backbone, None), cast(CodecTables, None), inference)
        await display.close()


@pytest.mark.parametrize(
    ("page", "speaker", "is_heard"), [(True, None, True), (False, None, False), (True, "none", False)]
)
async def test_who_is_seen_on_a_page_alone_is_heard_as_well(
    page: bool, speaker: str | None, is_heard: bool
) -> None:
    options = ReceiverOptions("127.0.0.1", 0, view="none", speaker=speaker)
    stage = set_stage(options, Console(io.StringIO(), io.StringIO()), page=page, sends=True)
    assert any(isinstance(sink, Loudspeaker) for sink in stage.sink._sinks) is is_heard


class Lane:
    """A connection that says one word and ends when it is closed."""

    path = reason = ""

    def __init__(self) -> None:
        self.words = [("ctl", b"word")]

    async def recv(self) -> Any:
        return self.words.pop()

    async def close(self) -> None:
        pass


class Calls:
    """Makes calls that end as `ends` say, each at a moment of its own."""

    def __init__(self) -> None:
        self.ends: list[asyncio.Future[Ended]] = []
        self.phase = Phase.AWAY

    def figures(self, _: ReceiverCall) -> dict[str, object]:
        return {}

    def call(self, _: Connection, **__: Any) -> ReceiverCall:
        end: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.ends.append(end)

        async def run(_: bytes) -> Ended:
            return await end

        lost = SimpleNamespace(
            run=run,
            streaming=True,
            hung_up=False,
            matches=lambda *_: False,
            phase=self.phase,
            summary=SimpleNamespace(to_map=dict),
            end=lambda reason: end.done() or end.set_result(Ended(reason, ok=True)),
            give_way=lambda: None,
        )
        return cast(ReceiverCall, lost)


async def test_who_calls_anew_is_not_said_to_be_shown_no_more() -> None:
    said = io.StringIO()
    options = ReceiverOptions("127.0.0.1", 0, view="none", audio=False)
    display, calls = Display(options, Console(io.StringIO(), said)), Calls()
    display._incoming = cast(Incoming, calls)
    running = asyncio.create_task(display.run())
    for count in (1, 2):
        display.shows(cast(Connection, Lane()))
        async with asyncio.timeout(20):
            while len(calls.ends) < count:
                if display._admission.has_pending and calls.ends:
                    calls.ends[-1].set_result(Ended("Another called.", ok=False))
                await asyncio.sleep(0.001)
    assert said.getvalue() == ""
    calls.ends[-1].set_result(Ended("It broke.", ok=False))
    async with asyncio.timeout(20):
        while not said.getvalue():
            await asyncio.sleep(0.001)
    assert said.getvalue() == "note: the other side is no longer shown: It broke.\n"
    display.finish()
    await running
    await display.close()


@pytest.mark.parametrize(("phase", "goes_on"), [(Phase.STALLED, True), (Phase.AWAY, False)])
async def test_a_short_silence_does_not_end_what_goes_on_after_ones_own_video(
    phase: Phase, goes_on: bool
) -> None:
    options = ReceiverOptions("127.0.0.1", 0, view="none", audio=False)
    display, calls = Display(options, Console(io.StringIO(), io.StringIO())), Calls()
    display._incoming, calls.phase = cast(Incoming, calls), phase
    running = asyncio.create_task(display.run())
    display.shows(cast(Connection, Lane()))
    async with asyncio.timeout(20):
        while not calls.ends:
            await asyncio.sleep(0.001)
    display.finish()
    assert calls.ends[0].done() is not goes_on
    display.end("Enough.") if goes_on else None
    await running
    await display.close()


async def test_who_hangs_up_before_there_is_an_answer_calls_no_further() -> None:
    class Deaf:
        begun, let_go = asyncio.Event(), False

        async def connect(self) -> None:
            self.begun.set()
            try:
                await asyncio.sleep(600)
            finally:
                self.let_go = True

    line, controls = Deaf(), Controls()
    calling = asyncio.create_task(_answered(cast(Any, line), controls))
    await line.begun.wait()
    controls.hang_up()
    assert await asyncio.wait_for(calling, 60) is None
    assert line.let_go


async def test_ctrl_c_while_the_other_side_has_not_answered_is_none_of_that() -> None:
    class Deaf:
        async def connect(self) -> None:
            await asyncio.sleep(600)

    calling = asyncio.create_task(_answered(cast(Any, Deaf()), Controls()))
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
