# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of nginx's configuration, all or nothing: test, swap, reload, confirm; roll back when any of it fails."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..._errors import EdgeError
from ..._lists import DEFAULT, Run
from ..._lock import locked
from ..read import listeners
from ..read.syntax import Directive, split_dump
from . import before_lists, selinux, staging, stream
from .confirm import Logs, answer, wait
from .desired import Desired, Manifest, digests
from .generations import Store, confirm_address
from .installation import Installation, Verdict, processes
from .material import there
from .merge import merge
from .parts import Change
from .service import Service, service

#: A machine under load is no reason to take a change for one that did not happen.
_PATIENCE = 10.0


@dataclass
class Outcome:
    """What a change did, or in check mode would do. ``before`` and ``after`` are texts by path, without material."""

    changed: bool = False
    generation: str | None = None
    previous: str | None = None
    tested: bool = False
    confirmed: bool = False
    #: old workers that still finish requests
    draining: int = 0
    how_tested: str = ""
    not_tested: str = ""
    repaired: bool = False
    material_changed: list[str] = field(default_factory=list)
    #: exported files that nothing has a use for any more
    material_removed: list[str] = field(default_factory=list)
    #: ``list/route`` of what this run made, changed and removed
    parts: dict[str, list[str]] = field(default_factory=lambda: {"made": [], "changed": [], "removed": []})
    #: the lists on this host afterwards, and the parts of others
    lists: list[str] = field(default_factory=list)
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Transaction:
    """A change to the files of ``store`` under ``nginx``.

    :param nginx: None where no nginx is installed; only check mode and removal work then.
    :param start: start nginx when it isn't running.
    :param take_over: let our files answer unknown host names where a site of the user's does so far.
    :param timeout: seconds for the whole change, from the wait for the lock to the confirmation. A roll-back has the same time anew.
    :param keep: how many generations stay on the disk.
    :param material_folder: where exported certificates and keys are. Those that no part names any more are removed, below it alone.
    """

    store: Store
    nginx: Installation | None
    name: str
    check: bool = False
    start: bool = True
    take_over: bool = False
    timeout: float = 30
    keep: int = 3
    method: str = "auto"
    unit: str = "nginx"
    material_folder: str = "/etc/edgemesh/tls"
    _until: float = field(default=0.0, init=False)

    def present(self, change: Change) -> Outcome:
        """Make nginx serve what this run says of its list, and everything else as it is.

        :raises EdgeError: when it doesn't; what served before serves again then, unless the error says otherwise.
        """
        with self._alone(change.run.list_name):
            self.store.refuse_foreign()
            return self._change(change)

    def rolled_back(self, which: str, list_name: str = DEFAULT) -> Outcome:
        """Make nginx serve what a list had in an earlier generation: as a new one, tested and confirmed like every other change.

        :param which: see :meth:`Store.earlier`.
        :raises EdgeError: as for ``present``, and when there is no such generation.
        """
        with self._alone(list_name):
            self.store.refuse_foreign()
            origin, change = self.store.earlier(which, list_name)
            return self._change(change, origin)

    def absent(self, list_name: str = DEFAULT, all_lists: bool = False) -> Outcome:
        """Take away what a list has. With the last one, or with all of them, everything of ours goes, and comes back what we put aside."""
        with self._alone(list_name):
            if not self.store.exists():
                return Outcome()
            self.store.refuse_foreign()
            self.start = False
            if all_lists:
                good = self.store.state()["confirmed"]
                return self._gone(self.store.served(good) if self.store.manifest(good) else Desired({}), list_name)
            return self._change(Change(Run.teardown(list_name)))

    def _change(self, change: Change, origin: str = "") -> Outcome:
        state, list_name = self.store.state(), change.run.list_name
        before = before_lists.settled(self.store.served(state["confirmed"]), change)
        wanted = merge(before, change)
        if not wanted.parts:
            return self._gone(before, list_name) if self.store.exists() else Outcome()
        if not change.parts and wanted.parts == before.parts and "pending" not in state and not state["material"]:
            outcome = Outcome(generation=state["confirmed"], previous=state["confirmed"])
            return self._told(outcome, before, wanted, list_name)
        return self._apply(before, wanted, list_name, origin)

    def _gone(self, before: Desired, list_name: str) -> Outcome:
        """Take everything of ours away and put back what we put aside."""
        good = self.store.state()["confirmed"]
        doomed = self._doomed(before, Desired({}))
        outcome = self._told(Outcome(changed=True, previous=good, before=self._shown(good)), before, Desired({}), list_name)
        outcome.material_removed = sorted(doomed)
        if self.nginx is None:
            outcome.not_tested = "nginx isn't installed on this host"
            if not self.check:
                self.store.activate(None)
                self.store.record(None, doomed=doomed)
                self._remove_material(outcome)
                self.store.remove()
            return outcome
        self.start = False
        verdict = staging.test(self.nginx, self.store.plan(None), self._left())
        if not verdict.good:
            raise EdgeError(
                "nginx refuses the configuration without our files", where=self.nginx.main, why=verdict.why,
                fix="Correct that first; nothing was touched", complaints=verdict.complaints,
            )  # fmt: skip
        outcome.tested, outcome.how_tested = True, verdict.how
        if not self.check:
            self._switch(None, good, verdict, doomed=doomed)
            self._remove_material(outcome)
            self.store.remove()
            self.store.step("removed")
            outcome.confirmed = True
        return outcome

    def _apply(self, before: Desired, wanted: Desired, list_name: str, origin: str) -> Outcome:
        state = self.store.state()
        good, interrupted = state["confirmed"], "pending" in state
        material = digests(wanted.depends_on)
        digest, old = wanted.digest(material), self.store.manifest(good)
        outcome = self._told(self._compare(wanted, material, good, old), before, wanted, list_name)
        outcome.repaired = interrupted
        doomed = self._doomed(before, wanted)
        outcome.material_removed = sorted(doomed)
        if good and old and old.digest == digest and not interrupted and self.store.is_active(good, wanted) and self._serves(good, old):
            outcome.generation, outcome.confirmed = good, answer(old.listen, _PATIENCE) == good
            # of a run that was killed when all else was done
            outcome.changed = bool(doomed)
            if state["material"] and not self.check:
                self._remove_material(outcome)
            return outcome
        outcome.changed, outcome.generation = True, self.store.next_name(digest)
        try:
            if interrupted and not self.check:
                # the disk first: nobody else's reload shall meet a half-made change
                self.store.activate(good)
            reason = self._obstacle(wanted, material)
            if reason:
                outcome.not_tested = reason
                return outcome
            verdict, listen, entry = self._test(outcome.generation, wanted, old.listen if old else "")
        except EdgeError as error:
            if self.check and error.code == stream.NO_MODULE:
                # the same run may bring it
                outcome.not_tested = error.why
                return outcome
            if interrupted and not self.check and self.nginx:
                self._settle(good, error)
            raise
        outcome.tested, outcome.how_tested = True, verdict.how
        outcome.after.update(entry)
        if not self.check:
            self.store.step("tested")
            copies = {name: of for name, of in (old.copy_of if old else {}).items() if name in wanted.lists and name != list_name}
            copies.update({list_name: origin} if origin else {})
            manifest = Manifest(
                digest, wanted.default_site, listen, self._pid_file(verdict), material, copies, entry,
                [part.as_dict() for part in wanted.parts], wanted.default_sites,
            )  # fmt: skip
            self.store.write_state()
            self.store.step("folder made")
            self.store.write_generation(outcome.generation, wanted, manifest)
            self.store.step("written")
            ways_back = {**state["before"], **({list_name: good} if good and any(outcome.parts.values()) else {})}
            ways_back = {name: of for name, of in ways_back.items() if name in wanted.lists}
            self._switch(outcome.generation, good, verdict, ways_back, doomed)
            self._remove_material(outcome)
            outcome.confirmed = answer(listen, _PATIENCE) == outcome.generation
            outcome.draining = len(processes(manifest.pid_file).draining)
            self.store.prune(self.keep)
            self.store.step("pruned")
        return outcome

    # --- compare and test ---

    def _told(self, outcome: Outcome, before: Desired, wanted: Desired, list_name: str) -> Outcome:
        """Whose parts this run made, changed and removed, and whose others are here."""
        was, now = ({part.owner.key: part for part in each.parts} for each in (before, wanted))
        outcome.parts = {
            "made": sorted(now.keys() - was.keys()),
            "changed": sorted(key for key in now.keys() & was.keys() if now[key] != was[key]),
            "removed": sorted(was.keys() - now.keys()),
        }
        outcome.lists = wanted.lists
        outcome.neighbours = [
            {"list": part.owner.list_name, "name": part.owner.route, "probes": list(part.probes)}
            for part in wanted.parts
            if part.owner.list_name != list_name
        ]
        return outcome

    def _doomed(self, before: Desired, wanted: Desired) -> dict[str, str]:
        """By path, the folder of the material that goes with this change, and of what a killed run left."""
        left = {path: self.material_folder for part in before.parts for path in part.material}
        used = {path for part in wanted.parts for path in (*part.material, *part.depends_on)}
        doomed = {path: folder for path, folder in {**left, **self.store.state()["material"]}.items() if path not in used}
        return {path: folder for path, folder in doomed.items() if there(path, folder)}

    def _compare(self, wanted: Desired, material: Mapping[str, str], good: str | None, old: Manifest | None) -> Outcome:
        outcome = Outcome(previous=good, before=self._shown(good))
        outcome.after = {**{self._live(path): text for path, text in wanted.files.items()}, self.store.include: self.store.include_text}
        was = old.depends_on if old else {}
        outcome.material_changed = [path for path in wanted.depends_on if was.get(path) != material.get(path)]
        if wanted.default_site == "disabled":
            outcome.warnings = [
                f"{os.path.join(self.store.conf, site)} stays: {reason}, so it is taken for a site of yours"
                for site, reason in self.store.default_sites().items()
                if reason
            ]
        return outcome

    def _obstacle(self, wanted: Desired, material: Mapping[str, str]) -> str:
        """Why the change can't even be tested; in check mode that is no error, because the same run may bring what is missing."""
        missing = [path + _whose(path, wanted) for path in wanted.depends_on if path not in material]
        reason, fix = "", ""
        if self.nginx is None:
            reason, fix = "nginx isn't installed on this host", "Install nginx first"
        elif missing:
            reason, fix = f"not there yet: {', '.join(missing)}", "Put the files there first, or correct depends_on"
        if reason and not self.check:
            raise EdgeError("the configuration can't be applied", where=self.store.folder, why=reason, fix=f"{fix}; nothing was touched")
        return reason

    def _test(self, generation: str, wanted: Desired, listen: str) -> tuple[Verdict, str, dict[str, str]]:
        """Test the planned configuration; returns the verdict, the address for the confirmation, and the stream context's entry."""
        nginx, own = self._nginx(), confirm_address(self.name)
        entry: dict[str, str] = {}
        if stream.used([*wanted.files]):
            entry = self.store.stream_entry(self._as_it_is().dump, wanted)
        listen = listen or f"{own}:80"
        verdict = staging.test(nginx, self.store.plan(generation, wanted, listen, entry), self._left())
        tree = verdict.tree
        if verdict.good and listeners.confirm_at(tree, own, listen) != listen:
            listen = listeners.confirm_at(tree, own, listen)
            verdict = staging.test(nginx, self.store.plan(generation, wanted, listen, entry), self._left())
        if not verdict.good:
            self._as_it_is()
            fix, code = stream.advice(verdict.complaints)
            raise EdgeError(
                "nginx refuses the new configuration", where=self.store.folder, why=verdict.why,
                fix=f"{fix or 'Correct the files'}; nothing was touched", code=code, complaints=verdict.complaints,
            )  # fmt: skip
        self._refuse_unread(verdict, generation, wanted)
        self._refuse_twice(tree)
        self._refuse_take_over(tree, wanted)
        return verdict, listen, entry

    def _as_it_is(self) -> Verdict:
        """The verdict on the configuration without this change.

        :raises EdgeError: when it is broken already.
        """
        alone = staging.test(self._nginx(), {}, self._left())
        if not alone.good:
            raise EdgeError(
                "nginx's configuration is already broken, without this change", where=self._nginx().main, why=alone.why,
                fix="Correct that first; nothing was touched", complaints=alone.complaints,
            )  # fmt: skip
        return alone

    def _refuse_unread(self, verdict: Verdict, generation: str, wanted: Desired) -> None:
        """Stop where nginx's own main file never comes to what was planned."""
        main, read = self._nginx().main, split_dump(verdict.dump)
        if not any(f'return 200 "{generation}"' in text for text in read.values()):
            raise EdgeError(
                f"it doesn't include {os.path.relpath(self.store.include, self._nginx().folder)} in its http block", where=main,
                fix="Add `include conf.d/*.conf;` there; nothing was touched",
            )  # fmt: skip
        for path in stream.used([*wanted.files]):
            if not any(one.endswith(f"/{path}") for one in read):
                raise EdgeError(
                    f"{path} is not read", where=main, why="its stream block is in a file that can't be tested here",
                    fix="Put the stream block into the main file; nothing was touched",
                )  # fmt: skip

    def _refuse_twice(self, tree: list[Directive]) -> None:
        twice = listeners.in_both(tree)
        if twice:
            raise EdgeError(
                f"two listeners use {twice[0]}", where=twice[2], why=f"{twice[1]} listens there already, in the http context",
                fix="Choose another port; nothing was touched",
            )  # fmt: skip

    def _refuse_take_over(self, tree: list[Directive], wanted: Desired) -> None:
        lost = listeners.taken_over(tree, self.store.folder + os.sep)
        # Red Hat's default site stands in the main file
        lost = [(place, site) for place, site in lost if wanted.default_site == "keep" or not site.startswith(self._nginx().main + ":")]
        if lost and not self.take_over:
            raise EdgeError(
                f"these files would take requests for unknown host names at {lost[0][0]} away from {lost[0][1]}",
                where=self.store.folder, why="no server there is default_server, and nginx reads these files first",
                fix=f"Add default_server to the listen directive of {lost[0][1]}, or set take_over; nothing was touched",
                taken_over=[f"{place} {site}" for place, site in lost],
            )  # fmt: skip

    # --- swap, reload, confirm, roll back ---

    def _remove_material(self, outcome: Outcome) -> None:
        """Remove what nothing has a use for. The change is done: what can't be removed is said, and tried again by the next run."""
        try:
            outcome.material_removed = self.store.remove_material()
        except (EdgeError, OSError) as error:
            why = error.sentence if isinstance(error, EdgeError) else f"{error.strerror}."
            outcome.warnings.append(f"some of {', '.join(outcome.material_removed)} stay until the next run: {why}")

    def _switch(
        self, generation: str | None, good: str | None, verdict: Verdict,
        before: Mapping[str, str] | None = None, doomed: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        was_running = bool(processes(self._pid_file(verdict)).master)
        try:
            self.store.write_state(pending=generation)
        except OSError:
            self.store.discard(generation)
            raise
        self.store.step("journal")
        try:
            with self._disk():
                self.store.activate(generation)
                self.store.step("activated")
                self._bring_up(generation, verdict, "the new configuration")
                self.store.step("confirmed")
                # what can't be noted didn't happen: the next run would take it for a change that was cut off
                self.store.record(generation, before, doomed)
        except EdgeError as error:
            self._roll_back(generation, good, verdict, error, was_running)
            raise
        self.store.step("recorded")

    def _roll_back(self, failed: str | None, good: str | None, verdict: Verdict, error: EdgeError, was_running: bool) -> None:
        """Return to ``good``, and say in ``error`` how that went. The journal stays when even that fails."""
        self._until = time.monotonic() + self.timeout
        pid_file = self._pid_file(verdict)
        try:
            with self._disk():
                self.store.activate(good)
                self.store.step("rolled back")
                if was_running:
                    self._bring_up(good, verdict, "the previous configuration")
                elif processes(pid_file).master:
                    self._service(pid_file).stop(processes(pid_file), self._left())
                self.store.step("as before")
                # its room may be what the journal needs on a full disk
                self.store.discard(failed)
                self.store.write_state(confirmed=good, pending=...)
                self.store.step("noted")
        except EdgeError as second:
            raise EdgeError(
                error.what, where=error.where, why=f"{error.why}; and the roll-back failed too: {second.sentence}",
                fix="Look at nginx on this host now; the next run repairs what it can", rolled_back=False, **error.details,
            ) from None  # fmt: skip
        error.details.update(rolled_back=True, serving=good)

    def _settle(self, good: str | None, error: EdgeError) -> None:
        """After a killed run, when the new one gets no further: let nginx serve the last good generation."""
        manifest = self.store.manifest(good)
        self._until = time.monotonic() + self.timeout
        try:
            verdict = staging.test(self._nginx(), {}, self._left())
            if processes(self._pid_file(verdict)).master and not (manifest and answer(manifest.listen) == good):
                self._bring_up(good, verdict, "the last good configuration")
            self.store.write_state(pending=...)
        except EdgeError as second:
            error.details["repair_failed"] = second.sentence

    def _bring_up(self, generation: str | None, verdict: Verdict, what: str) -> None:
        """Reload nginx, or start it, and wait until its workers serve ``generation``."""
        pid_file = self._pid_file(verdict)
        running = processes(pid_file)
        if not running.master and not self.start:
            return
        logs = Logs(self._error_logs(verdict))
        manager, manifest = self._service(pid_file), self.store.manifest(generation)
        try:
            if running.master:
                manager.reload(running, self._left())
            else:
                manager.start(self._left())
            why = ""
        except EdgeError as error:
            why = error.sentence
        self.store.step("reloaded")
        why = why or wait(generation, manifest.listen if manifest else "", pid_file, running, logs, self._left())
        if why:
            # a manager that tests before it reloads keeps to itself what nginx said
            lines = logs.serious() or staging.test(self._nginx(), {}, self._left()).complaints
            fix = selinux.advice(lines) if selinux.enforcing() else ""
            raise EdgeError(
                f"nginx does not run with {what}", where=generation or self.store.folder, why="; ".join([why.rstrip("."), *lines[:3]]),
                fix=fix or ("" if lines else "See nginx's error log"), log=lines[:10],
            )  # fmt: skip

    # --- helpers ---

    @contextmanager
    def _alone(self, list_name: str) -> Iterator[None]:
        """The time of this change begins, and no other run is at it."""
        self._until = time.monotonic() + self.timeout
        with locked([self.store.conf], self.timeout, f"list {list_name}"), self._disk():
            yield

    def _left(self) -> float:
        """Seconds until this change must be done; at least one, so that what fails says why rather than that there was no time."""
        return max(1.0, math.ceil(self._until - time.monotonic()))

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Says of a failed file operation what a person can do about it."""
        try:
            yield
        except OSError as error:
            fix = "Run as root (become)" if isinstance(error, PermissionError) else "See whether the disk is full or read-only"
            raise EdgeError(
                "it can't be read or written",
                where=str(error.filename or self.store.folder),
                why=error.strerror or type(error).__name__,
                fix=fix,
            ) from None

    def _nginx(self) -> Installation:
        if self.nginx is None:
            raise EdgeError("nginx isn't installed on this host", fix="Install nginx first")
        return self.nginx

    def _service(self, pid_file: str) -> Service:
        return service(self._nginx(), processes(pid_file), self.method, self.unit)

    def _serves(self, generation: str, manifest: Manifest) -> bool:
        """Whether nginx answers this generation; where it isn't to be started, one that doesn't run will do."""
        return answer(manifest.listen, _PATIENCE) == generation or not (self.start or processes(manifest.pid_file).master)

    def _pid_file(self, verdict: Verdict) -> str:
        nginx = self._nginx()
        named = _top_level(verdict, "pid")
        return nginx.path(named[0]) if named else nginx.pid_file

    def _error_logs(self, verdict: Verdict) -> list[str]:
        nginx = self._nginx()
        named = [*_top_level(verdict, "error_log"), nginx.error_log, "/var/log/nginx/error.log"]
        return sorted(
            {nginx.path(log) for log in named if os.path.basename(log) != "stderr" and not log.startswith(("syslog:", "memory:"))}
        )

    def _live(self, path: str) -> str:
        return os.path.join(self.store.current, path)

    def _shown(self, generation: str | None) -> dict[str, str]:
        """The files of a generation by the path under which nginx reads them, for the diff."""
        shown = {self._live(path): text for path, text in self.store.files(generation).items()}
        if generation:
            manifest = self.store.manifest(generation)
            shown.update({self.store.include: self.store.include_text, **(manifest.entry if manifest else {})})
        return shown


def _whose(path: str, wanted: Desired) -> str:
    """Who needs a file, where that may be another list."""
    users = ", ".join(str(part.owner) for part in wanted.parts if path in part.depends_on)
    return f" ({users})" if len(wanted.lists) > 1 else ""


def _top_level(verdict: Verdict, name: str) -> list[str]:
    return [directive.args[0] for directive in verdict.tree if directive.name == name and directive.args]
