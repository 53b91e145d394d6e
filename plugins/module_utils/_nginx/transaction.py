"""One change of nginx's configuration, all or nothing: test, swap, reload, confirm; roll back when any of it fails."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .._errors import EdgeError
from . import listeners, staging
from .generations import Desired, Manifest, Store, confirm_address, digests
from .installation import Installation, Processes, Verdict, complaints, processes
from .service import Service, service
from .syntax import Directive, effective, split_dump


@dataclass
class Outcome:
    """What a change did, or in check mode would do."""

    changed: bool = False
    generation: str | None = None
    previous: str | None = None
    tested: bool = False
    confirmed: bool = False
    how_tested: str = ""
    not_tested: str = ""
    repaired: bool = False
    material_changed: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Transaction:
    """A change to the files of ``store`` under ``nginx``.

    :param nginx: None where no nginx is installed; only check mode and removal work then.
    :param start: start nginx when it isn't running.
    :param timeout: seconds for each of lock, test and confirmation.
    :param keep: how many generations stay on the disk.
    :param step: called with a name at each boundary between two steps; tests end the process there.
    """

    store: Store
    nginx: Installation | None
    name: str
    check: bool = False
    start: bool = True
    timeout: float = 30
    keep: int = 3
    method: str = "auto"
    unit: str = "nginx"
    step: Callable[[str], None] = lambda _name: None

    def present(self, wanted: Desired) -> Outcome:
        """Make nginx serve exactly these files.

        :raises EdgeError: when it doesn't; what served before serves again then, unless the error says otherwise.
        """
        with self._lock():
            self.store.refuse_foreign()
            state = self.store.state()
            good, interrupted = state["confirmed"], "pending" in state
            material = digests(wanted.depends_on)
            digest = wanted.digest(material)
            old = self.store.manifest(good)
            outcome = Outcome(previous=good, before=self._shown(good), repaired=interrupted)
            outcome.after = {**{self._live(path): text for path, text in wanted.files.items()}, self.store.include: self.store.include_text}
            outcome.material_changed = [
                path for path in wanted.depends_on if (old.depends_on if old else {}).get(path) != material.get(path)
            ]
            missing = [path for path in wanted.depends_on if path not in material]

            unchanged = good and old and old.digest == digest and not interrupted and not missing and self.store.is_active(good, wanted)
            if good and old and unchanged and self._serves(good, old.listen):
                outcome.generation, outcome.confirmed = good, True
                return outcome
            outcome.changed = True
            outcome.generation = self.store.next_name(digest)
            if self.nginx is None:
                return self._untested(outcome, "nginx isn't installed on this host")
            if missing:
                return self._untested(outcome, f"not there yet: {', '.join(missing)}")
            if interrupted and not self.check:
                # disk first: nobody else's reload shall meet the half-made change
                self.store.activate(good)
            try:
                listen, verdict = self._test(outcome.generation, wanted, old.listen if old else "")
            except EdgeError:
                if interrupted and not self.check:
                    self._settle(good)
                raise
            outcome.tested, outcome.how_tested = True, verdict.how
            if self.check:
                return outcome
            self.step("tested")
            manifest = Manifest(digest, wanted.default_site, listen, material)
            os.makedirs(self.store.folder, mode=0o755, exist_ok=True)
            self.store.write_state()
            self.step("state")
            self.store.write_generation(outcome.generation, wanted, manifest)
            self.step("written")
            self._switch(outcome.generation, good, verdict)
            self.store.prune(self.keep)
            self.step("pruned")
            outcome.confirmed = self.start or bool(processes(self._pid_file(verdict)).master)
            return outcome

    def absent(self) -> Outcome:
        """Take everything of ours away and put back what we put aside."""
        with self._lock():
            if not self.store.exists():
                return Outcome()
            self.store.refuse_foreign()
            state = self.store.state()
            outcome = Outcome(changed=True, previous=state["confirmed"], before=self._shown(state["confirmed"]))
            if self.nginx is None:
                outcome.not_tested = "nginx isn't installed on this host"
                if not self.check:
                    self.store.activate(None)
                    self.store.remove()
                return outcome
            verdict = staging.test(self.nginx, self.store.plan(None), self.timeout)
            if not verdict.good:
                raise EdgeError(
                    "nginx refuses its configuration without ours", where=self.nginx.main, why=verdict.why,
                    fix="Mend what remains first; nothing was touched",
                )  # fmt: skip
            outcome.tested, outcome.how_tested = True, verdict.how
            if not self.check:
                self.start = False
                self._switch(None, state["confirmed"], verdict)
                self.store.remove()
                self.step("removed")
                outcome.confirmed = True
            return outcome

    # --- test ---

    def _untested(self, outcome: Outcome, reason: str) -> Outcome:
        """In check mode a prediction without a test; otherwise the end."""
        if self.check:
            outcome.not_tested = reason
            return outcome
        fix = "Install nginx first" if self.nginx is None else "Put the files there first, or correct depends_on"
        raise EdgeError("the configuration can't be applied", where=self.store.folder, why=reason, fix=f"{fix}; nothing was touched")

    def _test(self, generation: str, wanted: Desired, listen: str) -> tuple[str, Verdict]:
        """Test the planned configuration; returns the address for the confirmation, and the verdict."""
        nginx, own = self._nginx(), confirm_address(self.name)
        listen = listen or f"{own}:80"
        verdict = staging.test(nginx, self.store.plan(generation, wanted, listen), self.timeout)
        if verdict.good:
            better = listeners.confirm_at(effective(verdict.dump), own, listen)
            if better != listen:
                listen = better
                verdict = staging.test(nginx, self.store.plan(generation, wanted, listen), self.timeout)
        if not verdict.good:
            alone = staging.test(nginx, {}, self.timeout)
            if alone.good:
                raise EdgeError(
                    "nginx refuses the new configuration", where=self.store.folder, why=verdict.why,
                    fix="Correct the files; nothing was touched", complaints=verdict.complaints,
                )  # fmt: skip
            raise EdgeError(
                "nginx's configuration is already broken, without this change", where=nginx.main, why=alone.why,
                fix="Mend that first; nothing was touched", complaints=alone.complaints,
            )  # fmt: skip
        if not any(f'return 200 "{generation}"' in text for text in split_dump(verdict.dump).values()):
            raise EdgeError(
                f"it doesn't include {os.path.relpath(self.store.include, nginx.folder)} in its http block", where=nginx.main,
                fix="Add `include conf.d/*.conf;` there; nothing was touched",
            )  # fmt: skip
        return listen, verdict

    # --- swap, reload, confirm, roll back ---

    def _switch(self, generation: str | None, good: str | None, verdict: Verdict) -> None:
        pid_file = self._pid_file(verdict)
        running = processes(pid_file)
        self.store.write_state(pending=generation)
        self.step("journal")
        try:
            self.store.activate(generation)
            self.step("activated")
            self._bring_up(generation, pid_file, verdict, "the new configuration")
            self.step("confirmed")
        except BaseException as error:
            self._roll_back(good, pid_file, verdict, error, was_running=bool(running.master))
            raise
        self.store.write_state(confirmed=generation, pending=...)
        self.step("recorded")

    def _roll_back(self, good: str | None, pid_file: str, verdict: Verdict, error: BaseException, was_running: bool) -> None:
        """Return to ``good``; what happened is added to ``error``. The journal stays when even that fails."""
        try:
            self.store.activate(good)
            self.step("rolled back")
            if was_running or good:
                self._bring_up(good, pid_file, verdict, "the configuration of before")
            elif processes(pid_file).master:
                self._service(pid_file).stop(processes(pid_file))
            self.store.write_state(confirmed=good, pending=...)
        except EdgeError as second:
            if isinstance(error, EdgeError):
                error.details["rollback_failed"] = second.sentence
                raise EdgeError(
                    error.what, where=error.where, why=f"{error.why}; and going back failed too: {second.sentence}",
                    fix="Look at nginx on this host now; the next run repairs what it can", **error.details,
                ) from None  # fmt: skip
        else:
            if isinstance(error, EdgeError):
                error.details["rolled_back_to"] = good or "nothing of ours"

    def _settle(self, good: str | None) -> None:
        """After an interrupted run and a refused new configuration: let nginx serve the last good one."""
        verdict = staging.test(self._nginx(), {}, self.timeout)
        pid_file = self._pid_file(verdict)
        manifest = self.store.manifest(good)
        if processes(pid_file).master and not (good and manifest and answer(manifest.listen) == good):
            self._bring_up(good, pid_file, verdict, "the last good configuration")
        self.store.write_state(pending=...)

    def _bring_up(self, generation: str | None, pid_file: str, verdict: Verdict, what: str) -> None:
        """Reload nginx, or start it, and wait until its workers serve ``generation``."""
        running = processes(pid_file)
        if not running.master and not self.start:
            return
        logs = {path: _size(path) for path in self._error_logs(verdict)}
        manager = self._service(pid_file)
        try:
            if running.master:
                manager.reload(running)
            else:
                manager.start()
        except EdgeError as error:
            raise EdgeError(
                f"nginx did not take {what}",
                where=error.where,
                why="; ".join([error.what, *_serious(logs)[:3]]),
                fix="See nginx's error log",
            ) from None
        self.step("reloaded")
        why = self._await(generation, pid_file, running, logs)
        if why:
            raise EdgeError(
                f"nginx did not take {what}", where=generation or self.store.folder, why="; ".join([why, *_serious(logs)[:3]]),
                fix="See nginx's error log", log=_serious(logs)[:10],
            )  # fmt: skip

    def _await(self, generation: str | None, pid_file: str, before: Processes, logs: dict[str, int]) -> str:
        """Empty once new workers, and only they, accept and answer ``generation``; otherwise why not."""
        manifest = self.store.manifest(generation)
        deadline = time.monotonic() + self.timeout
        same, seen = 0, frozenset[int]()
        while True:
            now = processes(pid_file)
            told = answer(manifest.listen) if manifest else None
            if not now.master:
                why = "nginx isn't running"
            elif not now.workers or now.workers & before.workers:
                why = "its workers are still those of before the reload"
            elif manifest and told != generation:
                why = f"its workers answer {told or 'nothing'} at {manifest.listen} instead of {generation}"
            else:
                why = ""
            # several answers in a row, by the same processes: workers that crash and are replaced would not get there
            same = same + 1 if not why and (now.workers == seen or not same) else int(not why)
            seen = now.workers
            if same >= 4:
                return ""
            if time.monotonic() > deadline or (why and _gave_up(logs)):
                return why or "its workers keep being replaced"
            time.sleep(0.05)

    # --- helpers ---

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One run at a time: a lock on the configuration folder itself, which needs no file and ends with the process."""
        if not os.path.isdir(self.store.conf):
            yield
            return
        descriptor = os.open(self.store.conf, os.O_RDONLY | os.O_DIRECTORY)
        deadline = time.monotonic() + self.timeout
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise EdgeError(
                            f"another run has been changing it for {self.timeout:g} s",
                            where=self.store.conf,
                            fix="Run again when it is done",
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)

    def _nginx(self) -> Installation:
        if self.nginx is None:
            raise EdgeError("nginx isn't installed on this host", fix="Install nginx first")
        return self.nginx

    def _service(self, pid_file: str) -> Service:
        return service(self._nginx(), processes(pid_file), self.method, self.unit)

    def _serves(self, generation: str, listen: str) -> bool:
        """Whether nginx answers this generation; where it isn't to be started, one that doesn't run counts as well."""
        told = answer(listen)
        return told == generation or (told is None and not self.start and not self._running_somewhere())

    def _running_somewhere(self) -> bool:
        return bool(processes(self._nginx().pid_file).master)

    def _pid_file(self, verdict: Verdict) -> str:
        nginx = self._nginx()
        named = _top_level(verdict, "pid")
        return nginx.path(named[0]) if named else nginx.pid_file

    def _error_logs(self, verdict: Verdict) -> list[str]:
        nginx = self._nginx()
        named = [*_top_level(verdict, "error_log"), nginx.error_log, "/var/log/nginx/error.log"]
        return sorted({nginx.path(log) for log in named if log != "stderr" and not log.startswith(("syslog:", "memory:"))})

    def _live(self, path: str) -> str:
        return os.path.join(self.store.current, path)

    def _shown(self, generation: str | None) -> dict[str, str]:
        """The files of a generation by the path under which nginx reads them, for the diff."""
        shown = {self._live(path): text for path, text in self.store.files(generation).items()}
        if generation:
            shown[self.store.include] = self.store.include_text
        return shown


def _top_level(verdict: Verdict, name: str) -> list[str]:
    tree: list[Directive] = effective(verdict.dump) if verdict.dump else []
    return [directive.args[0] for directive in tree if directive.name == name and directive.args]


def answer(listen: str, timeout: float = 1) -> str | None:
    """What the confirmation server at ``address:port`` says, None when nobody answers there."""
    host, _, port = listen.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = b""
            while len(received) < 65536:
                part = connection.recv(4096)
                if not part:
                    break
                received += part
    except (OSError, ValueError):
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    return body.decode("ascii", "replace").strip()[:80] if re.match(rb"HTTP/1\.[01] 200 ", head) else None


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _serious(logs: dict[str, int]) -> list[str]:
    """The lines of weight that nginx logged since the sizes in ``logs`` were taken."""
    lines = []
    for path, size in logs.items():
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                file.seek(size)
                lines += [line for line in complaints(file.read(65536)) if re.search(r"\[(emerg|alert|crit)\]", line)]
        except OSError:
            continue
    return list(dict.fromkeys(lines))


def _gave_up(logs: dict[str, int]) -> bool:
    """Whether nginx logged that it won't take the configuration; it retries an address in use, which isn't the end."""
    return any("[emerg]" in line and "bind() to" not in line for line in _serious(logs))
