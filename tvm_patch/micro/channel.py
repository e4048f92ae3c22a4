"""Requests and their answers over a link that may lose and damage frames."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tvm_patch.errors import DeviceError, DeviceRestartedError, DeviceSilentError, ProtocolError
from tvm_patch.micro import framing
from tvm_patch.micro.protocol import (
    PROTOCOL_VERSION,
    REPLY_FLAG,
    Command,
    FaultReport,
    PayloadReader,
    RowsQuestion,
    Status,
)
from tvm_patch.micro.transports.base import Transport

_ANSWER_TIMEOUT_S = 3.0
_SILENT_TRIES = 5
_DAMAGED_TRIES = 8
_QUIET_S = 0.02


@dataclass
class _Exchange:
    """A request under way.

    The tries that failed count from the last time that the device got on with it: an inference
    that fetches hundreds of rows may lose some of them.
    """

    command: Command
    on_step: Callable[[int], None] | None
    serve_rows: Callable[[RowsQuestion], bytes] | None
    heard_s: float
    latest_question: int | None = None
    silent: int = 0
    damaged: int = 0

    def got_on(self) -> None:
        """The device has said something new."""
        self.heard_s = time.monotonic()
        self.silent = self.damaged = 0


class Channel:
    """Asks a device, one request at a time, and repeats what gets lost.

    Parameters
    ----------
    transport : Transport
        The link.
    timeout_s : float
        How long the device may work without a word before it counts as silent.
    find_function : callable or None
        Names the function at an address, for messages about faults.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float,
        find_function: Callable[[int], str | None] | None = None,
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._answer_timeout_s = min(timeout_s, _ANSWER_TIMEOUT_S)
        self._find_function = find_function
        self._decoder = framing.FrameDecoder()
        self._inbox: deque[framing.Frame | framing.DamagedFrameError] = deque()
        # Anywhere: what an earlier session has left on the link is not to be taken for an answer.
        self._sequence = random.randrange(1 << 16)

    @property
    def name(self) -> str:
        """The far end as messages call it."""
        return self._transport.name

    def close(self) -> None:
        """Let go of the device."""
        self._transport.close()

    def request(
        self,
        command: Command,
        payload: bytes = b"",
        *,
        works: bool = False,
        on_step: Callable[[int], None] | None = None,
        serve_rows: Callable[[RowsQuestion], bytes] | None = None,
    ) -> bytes:
        """Ask, and ask again where a frame is damaged or lost, until there is an answer.

        The device answers a request that it has already carried out from memory, so repeating
        one is always safe.

        Parameters
        ----------
        command : Command
            What is asked for.
        payload : bytes
            With what.
        works : bool
            Whether the device may be at it for long.
        on_step : callable or None
            Told how many steps the device has done.
        serve_rows : callable or None
            Gives the data of rows that the device asks for meanwhile; None if it cannot ask.

        Returns
        -------
        bytes
            The payload of the answer.

        Raises
        ------
        DeviceSilentError
            If no answer comes.
        ProtocolError
            If every answer is damaged, or the firmware speaks another version.
        DeviceRestartedError
            If the device has started anew since it was last pinged.
        DeviceError
            If the device refuses, the network fails, or the firmware faults.
        """
        self._sequence = (self._sequence + 1) & 0xFFFF
        request = framing.encode(framing.Frame(command, self._sequence, payload))
        exchange = _Exchange(command, on_step, serve_rows, time.monotonic())
        patience_s = self._answer_timeout_s
        while exchange.silent < _SILENT_TRIES and exchange.damaged < _DAMAGED_TRIES:
            self._transport.write(request, self._answer_timeout_s)
            try:
                answer = self._await_answer(exchange, patience_s)
            except framing.DamagedFrameError:
                exchange.damaged += 1
            else:
                if answer is not None:
                    return self._checked(command, answer)
                exchange.silent += 1
            # A delimiter ends whatever the device may still take for the same frame.
            request = framing.DELIMITER + request.lstrip(framing.DELIMITER)
            # It may be at work, and the frame that said so lost; but not for ever.
            may_work = works and time.monotonic() < exchange.heard_s + self._timeout_s
            if may_work and serve_rows is not None:
                # It may as well wait for rows, and its question be lost: keep asking.
                exchange.silent = 0
            elif may_work:
                patience_s = self._timeout_s
            else:
                patience_s = self._answer_timeout_s
        if exchange.damaged == _DAMAGED_TRIES:
            raise ProtocolError(
                f"{self._transport.name}: frames stayed damaged in {exchange.damaged} tries "
                f"({command.name.lower()})",
                hint="check the cable and the baud rate",
            )
        raise DeviceSilentError(
            f"{self._transport.name}: does not answer ({command.name.lower()})",
            hint="reset the device, or allow it more time",
        )

    def _await_answer(self, exchange: _Exchange, patience_s: float) -> framing.Frame | None:
        """Return the answer to the latest request; None if none comes.

        Raises
        ------
        DamagedFrameError
            If a damaged frame arrived, or the device says that one did there.
        """
        deadline = time.monotonic() + patience_s
        damage: framing.DamagedFrameError | None = None
        # A device that may ask for rows is asked whether it has more often: see `request`.
        work_s = self._timeout_s if exchange.serve_rows is None else self._answer_timeout_s
        while True:
            while self._inbox:
                item = self._inbox.popleft()
                if isinstance(item, framing.DamagedFrameError):
                    damage = item
                    continue
                if item.command == Command.FAULT | REPLY_FLAG:
                    raise self._fault(item.payload)
                if item.status == Status.DAMAGED_FRAME:
                    damage = framing.DamagedFrameError("the device says so")
                    continue
                if item.sequence != self._sequence:
                    continue  # a second answer to an earlier request that was repeated
                if item.command == Command.FETCH_ROWS | REPLY_FLAG:
                    self._answer_question(exchange, item.payload)
                elif item.command != exchange.command | REPLY_FLAG:
                    continue
                elif item.status != Status.WORKING:
                    return item
                else:
                    exchange.got_on()
                    if exchange.on_step is not None:
                        exchange.on_step(PayloadReader(item.payload).fields("I")[0])
                deadline = time.monotonic() + work_s
            remaining = deadline - time.monotonic()
            if remaining <= 0 and damage is None:
                return None
            # Until the link is quiet it is one mishap: a burst of noise makes many damaged frames,
            # and the device complains about each.
            data = self._transport.read(remaining if damage is None else min(remaining, _QUIET_S))
            if damage is not None and (not data or remaining <= 0):
                raise damage
            self._inbox.extend(self._decoder.feed(data))

    def _answer_question(self, exchange: _Exchange, payload: bytes) -> None:
        """Send rows that the device asks for; again, if it asks again."""
        question = RowsQuestion.parse(payload)
        if exchange.serve_rows is None:
            raise ProtocolError(f"{self.name}: asks for rows of an input that is not by rows")
        if question.number != exchange.latest_question:
            exchange.latest_question = question.number
            exchange.got_on()
        data = question.answer(exchange.serve_rows(question))
        frame = framing.encode(framing.Frame(Command.FETCH_ROWS, self._sequence, data))
        # What came before it may have been cut short.
        self._transport.write(framing.DELIMITER + frame, self._answer_timeout_s)

    def _checked(self, command: Command, answer: framing.Frame) -> bytes:
        name = self._transport.name
        if answer.status == Status.OK:
            return answer.payload
        if answer.status == Status.WRONG_VERSION:
            raise ProtocolError(
                f"{name}: the firmware speaks protocol version {answer.version}, "
                f"not {PROTOCOL_VERSION}",
                hint="build and flash it again",
            )
        if answer.status == Status.RESTARTED:
            raise DeviceRestartedError(
                f"{name}: started anew in the middle of the session ({command.name.lower()}); "
                "what it was given is lost",
                hint="do it again; if it keeps happening, look at its supply and its watchdog",
            )
        if answer.status == Status.MODEL_FAILED:
            (result,) = PayloadReader(answer.payload).fields("i")
            raise DeviceError(f"{name}: the network's run function returned {result}")
        known = answer.status in Status.__members__.values()
        reason = Status(answer.status).name.lower() if known else f"status {answer.status}"
        raise DeviceError(f"{name}: refused {command.name.lower()}: {reason.replace('_', ' ')}")

    def _fault(self, payload: bytes) -> DeviceError:
        report = FaultReport.parse(payload)
        where = f"pc 0x{report.pc:08x}, lr 0x{report.lr:08x}, sp 0x{report.sp:08x}"
        function = self._find_function(report.pc) if self._find_function and report.pc else None
        return DeviceError(
            f"{self._transport.name}: the firmware faulted"
            f"{f' in {function}' if function else ''}: {report.cause} ({where})"
        )
