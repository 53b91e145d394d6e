# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads nginx configuration: the text of a file, or what ``nginx -T`` prints, as a tree of directives."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..._errors import EdgeError

_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
#: what separates words, comments included
_BLANK = re.compile(r"(?:\s+|#[^\n]*)+")
#: by the quote in which a word stands, characters that are nothing but part of it
_RUNS = {"": re.compile(r"(?:\$\{|[^\s;{\\])+"), '"': re.compile(r'[^"\\]+'), "'": re.compile(r"[^'\\]+")}


@dataclass
class Directive:
    """One directive: its words without quotes, its block if it has one, and where it stands.

    ``start`` and ``end`` are offsets into the text of its file, from its first character to behind its ``;`` or ``}``.
    """

    name: str
    args: list[str]
    file: str = ""
    line: int = 0
    start: int = 0
    end: int = 0
    block: list[Directive] | None = None

    def find(self, name: str) -> list[Directive]:
        """The directives of this name directly in this block."""
        return [child for child in self.block or [] if child.name == name]


@dataclass
class _Token:
    text: str
    start: int
    end: int
    line: int
    quoted: bool = False
    special: bool = field(init=False)

    def __post_init__(self) -> None:
        self.special = not self.quoted and self.text in (";", "{", "}")


def _tokens(text: str) -> Iterator[_Token]:
    """Words as nginx cuts them: quotes only at a word's start, ``\\`` keeps the next character, ``${`` is no block."""
    at, line = 0, 1
    while at < len(text):
        char = text[at]
        blank = _BLANK.match(text, at)
        if blank:
            line += blank[0].count("\n")
            at = blank.end()
        elif char in ";{}":
            yield _Token(char, at, at + 1, line)
            at += 1
        else:
            start, first_line, word = at, line, []
            quote = char if char in "\"'" else ""
            at += bool(quote)
            while at < len(text):
                run = _RUNS[quote].match(text, at)
                if run:
                    word.append(run[0])
                    line += run[0].count("\n")
                    at = run.end()
                elif text[at] == "\\" and at + 1 < len(text):
                    escaped = text[at + 1]
                    word.append({"t": "\t", "r": "\r", "n": "\n"}.get(escaped, escaped if escaped in "\"'\\" else text[at : at + 2]))
                    line += escaped == "\n"
                    at += 2
                elif text[at] == "\\":
                    word.append("\\")
                    at += 1
                else:
                    break
            at += bool(quote)
            yield _Token("".join(word), start, at, first_line, bool(quote))


def parse(text: str, file: str = "") -> list[Directive]:
    """The directives of one file.

    :raises EdgeError: where braces don't match or the last directive has no end; nginx refuses the same.
    """
    root: list[Directive] = []
    open_blocks: list[tuple[list[Directive], Directive | None]] = [(root, None)]
    words: list[_Token] = []
    for token in _tokens(text):
        if not token.special:
            words.append(token)
            continue
        if token.text in ";{":
            if not words:
                raise EdgeError(f"a directive has no name before '{token.text}'", where=f"{file}:{token.line}")
            first = words[0]
            directive = Directive(first.text, [word.text for word in words[1:]], file, first.line, first.start, token.end)
            open_blocks[-1][0].append(directive)
            words = []
            if token.text == "{":
                directive.block = []
                open_blocks.append((directive.block, directive))
        else:
            _siblings, owner = open_blocks.pop()
            if owner is None or words:
                raise EdgeError("a '}' has no matching '{'", where=f"{file}:{token.line}")
            owner.end = token.end
    if words or len(open_blocks) > 1:
        raise EdgeError("the file ends inside a directive", where=file)
    return root


def split_dump(dump: str) -> dict[str, str]:
    """The files of what ``nginx -T`` prints, by path, in the order in which nginx first read them."""
    marks = list(_FILE.finditer(dump))
    ends = [mark.start() for mark in marks[1:]] + [len(dump)]
    return {mark[1]: dump[mark.end() + 1 : end] for mark, end in zip(marks, ends)}


def effective(dump: str) -> list[Directive]:
    """The whole configuration that ``nginx -T`` prints as one tree, every ``include`` replaced by what it brings in."""
    files = split_dump(dump)
    if not files:
        return []
    main = next(iter(files))
    parsed: dict[str, list[Directive]] = {}

    def expand(block: list[Directive], depth: int) -> list[Directive]:
        whole: list[Directive] = []
        for directive in block:
            if directive.name == "include" and directive.args and depth < 32:
                pattern = os.path.join(os.path.dirname(main), directive.args[0])
                for path in matching(pattern, files):
                    if path not in parsed:
                        parsed[path] = parse(files[path], path)
                    whole += expand(parsed[path], depth + 1)
            else:
                inner = None if directive.block is None else expand(directive.block, depth)
                whole.append(
                    Directive(directive.name, directive.args, directive.file, directive.line, directive.start, directive.end, inner)
                )
        return whole

    return expand(parse(files[main], main), 0)


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """Those of ``paths`` that an ``include`` with this absolute pattern reads, in nginx's order: as glob(3), no folder is crossed."""
    pattern = os.path.normpath(pattern)
    parts = pattern.split("/")
    found = []
    for path in paths:
        names = os.path.normpath(path).split("/")
        if len(names) == len(parts) and all(
            name == part or (fnmatch.fnmatchcase(name, part) and not (name.startswith(".") and not part.startswith(".")))
            for name, part in zip(names, parts)
        ):
            found.append(path)
    return sorted(found)
