"""Play cases on a bench, and say how the run as a whole ended."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prixfixe.verify import interrupts
from prixfixe.verify.cases import LEVELS, Outcome, Result
from prixfixe.verify.dialogue.outcomes import CaseError
from prixfixe.verify.dialogue.servers import NotOfferedError, UnseenError
from prixfixe.verify.dialogue.wire import ClosedError
from prixfixe.verify.targets.base import EnvironmentFault
from prixfixe.verify.tracks import Track, tracks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prixfixe.verify.bench import Bench
    from prixfixe.verify.cases import Case

__all__ = ["EXIT_FAILED", "EXIT_NOTHING", "EXIT_OK", "EXIT_TROUBLE", "EXIT_USAGE", "Run"]

JOIN_SECONDS = 30.0  # for threads whose servers are gone
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_TROUBLE, EXIT_NOTHING = range(5)
_WORD = re.compile(r"\(|\)|[^\s()]+")


@dataclass
class Run:
    """One run: what was asked, and every result so far.

    `jobs` is how many tracks of cases are played at once, where servers can be started for them.
    """

    bench: Bench
    level: str
    jobs: int = 1
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    is_interrupted: bool = False

    def play(self, cases: Sequence[Case], tell: Callable[[Result], None]) -> None:
        """Play the cases; `tell` gets each result as it comes."""
        start = time.monotonic()
        self.bench.is_crash = self.level == "crash"
        self.bench.is_full = LEVELS.index(self.level) >= LEVELS.index("full")
        interrupts.begin()
        try:
            if self.bench.source.is_many:
                self._play_tracks(tracks_of(cases), tell)
            else:
                for case in cases:
                    self._note(self._judged(case, self.bench), tell)
        except KeyboardInterrupt:
            self.is_interrupted = True
        finally:
            order = {one.id: number for number, one in enumerate(cases)}
            self.results.sort(key=lambda one: order[one.case.id])
            self.seconds = time.monotonic() - start

    def _note(self, result: Result, tell: Callable[[Result], None]) -> None:
        self.results.append(result)
        tell(result)

    def _play_tracks(self, tracks: list[Track], tell: Callable[[Result], None]) -> None:
        """Play tracks beside each other, then those that are to be alone one by one."""
        beside = [one for one in tracks if not one.is_alone]
        self._play_at_once(beside, min(self.jobs, len(beside)), tell)
        self._play_at_once([one for one in tracks if one.is_alone], 1, tell)

    def _play_at_once(self, tracks: list[Track], jobs: int, tell: Callable[[Result], None]) -> None:
        found: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
        todo = deque(tracks)
        threads = [
            threading.Thread(target=self._work, args=(todo, found), daemon=True)
            for _ in range(jobs)
        ]
        left = len(threads)
        try:
            for one in threads:
                one.start()
            while left:
                told = found.get()
                if isinstance(told, BaseException):
                    raise told  # noqa: TRY301 - as if it had happened here
                if told is None:
                    left -= 1
                else:
                    self._note(told, tell)
        except BaseException:
            interrupts.end()
            self.bench.source.halt()
            raise
        finally:
            for one in threads:
                if one.ident is not None:  # an interrupt may come before the last is started
                    one.join(JOIN_SECONDS)

    def _work(self, todo: deque[Track], found: queue.SimpleQueue[Any]) -> None:
        """Play tracks while there are any; the results, an error, and the end go to `found`."""
        try:
            while todo and not interrupts.is_over():
                with contextlib.suppress(IndexError):  # another thread took the last
                    self._play_track(todo.popleft(), found)
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            if not interrupts.is_over():
                found.put(error)
        found.put(None)

    def _play_track(self, track: Track, found: queue.SimpleQueue[Any]) -> None:
        with contextlib.closing(self.bench.another()) as bench:
            for case in track.cases:
                result = self._judged(case, bench)
                if interrupts.is_over():
                    return  # its servers were taken away
                found.put(result)

    def _judged(self, case: Case, bench: Bench) -> Result:
        start = time.monotonic()
        bench.begin_case(case.id)
        severity = bench.contract.severity(case.id, case.severity)
        result = Result(case, severity, Outcome.PASS)
        result.outcome, result.why = self._played(case, bench)
        self._split(result)
        self._waive(result)
        if result.outcome not in (Outcome.PASS, Outcome.SKIP):
            result.evidence = bench.told()
        result.seconds = time.monotonic() - start
        return result

    def _played(self, case: Case, bench: Bench) -> tuple[Outcome, str]:
        try:
            case.check(bench)
        except NotOfferedError as error:
            return Outcome.SKIP, str(error)
        except UnseenError as error:
            return Outcome.UNVERIFIABLE, str(error)
        except EnvironmentFault:
            raise
        except (CaseError, AssertionError, ClosedError, TimeoutError, ConnectionError) as error:
            return Outcome.FAIL, str(error) or repr(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours is no verdict on the server
            return Outcome.ERROR, repr(error)
        return Outcome.PASS, ""

    def _split(self, result: Result) -> None:
        """Say of a conversation what was found of its replies and of what is stored."""
        if result.case.group != "PF-SMTP":
            return
        if result.outcome == Outcome.UNVERIFIABLE:
            result.replies, result.storage = "pass", "unverifiable"
        elif result.outcome == Outcome.PASS:
            result.replies = "pass"

    def _waive(self, result: Result) -> None:
        reason = self.bench.contract.waiver(result.case.id)
        if reason and result.outcome == Outcome.FAIL:
            result.outcome, result.why = Outcome.WAIVED, f"{reason} ({result.why})"

    # --- how it ended

    def counts(self, severity: str | None = None) -> Counter[str]:
        """Return how many ended how, of one severity or of all."""
        chosen = [one for one in self.results if severity in (None, one.severity)]
        return Counter(str(one.outcome) for one in chosen)

    @property
    def exit_code(self) -> int:
        """0 every must that was judged passes, 1 one failed, 3 trouble, 4 nothing was verified."""
        musts = self.counts("must")
        is_told = self.bench.contract.tables.get("unverifiable", "tell") == "tell"
        if musts["fail"] or (musts["unverifiable"] and not is_told):
            return EXIT_FAILED
        if self.counts()["error"] or self.is_interrupted:
            return EXIT_TROUBLE
        return EXIT_OK if any(one.is_judged for one in self.results) else EXIT_NOTHING

    @property
    def verdict(self) -> str:
        """One sentence on the run."""
        musts, code = self.counts("must"), self.exit_code
        unseen = musts["unverifiable"]
        if code == EXIT_FAILED:
            more = unseen if not musts["fail"] else musts["fail"]
            return f"{more} of {sum(musts.values())} musts failed"
        if code == EXIT_TROUBLE:
            return (
                "interrupted" if self.is_interrupted else "the verifier could not play every case"
            )
        if code == EXIT_NOTHING:
            return "nothing was verified"
        rest = f"; {unseen} more could not be verified" if unseen else ""
        return f"{musts['pass'] + musts['waived']} musts hold{rest}"


def chosen(cases: Iterable[Case], level: str, expression: str | None) -> list[Case]:
    """Return the cases of a level whose ids fit an expression such as `PF-DUR or not TLS`.

    Raises:
        ValueError: the expression cannot be read.

    """
    most = LEVELS.index(level)
    of_level = [one for one in cases if LEVELS.index(one.level) <= most]
    if not expression:
        return of_level
    words = _WORD.findall(expression)
    return [one for one in of_level if _Fits(words, one.id).value()]


class _Fits:
    """An expression of words with `and`, `or`, `not` and parentheses, on one id."""

    def __init__(self, words: list[str], name: str) -> None:
        self.words, self.name = list(words), name.lower()

    def value(self) -> bool:
        """Return whether the id fits."""
        found = self._either()
        if self.words:
            msg = f"-k: {self.words[0]!r} was not expected"
            raise ValueError(msg)
        return found

    def _either(self) -> bool:
        found = self._both()
        while self.words[:1] == ["or"]:
            self.words.pop(0)
            found = self._both() or found
        return found

    def _both(self) -> bool:
        found = self._one()
        while self.words[:1] == ["and"]:
            self.words.pop(0)
            found = self._one() and found
        return found

    def _one(self) -> bool:
        if not self.words or self.words[0] in ("and", "or", ")"):
            msg = "-k: a part of an id is expected"
            raise ValueError(msg)
        word = self.words.pop(0)
        if word == "not":
            return not self._one()
        if word == "(":
            found = self._either()
            if self.words[:1] != [")"]:
                msg = "-k: ) is expected"
                raise ValueError(msg)
            self.words.pop(0)
            return found
        return word.lower() in self.name
