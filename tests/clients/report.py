"""Checks: what they may say, and what is told of each.

A check is a function whose name begins with `check_`; the first line of its documentation is its name. It returns when
all is as it should be, and raises `Failure` or `Skip` otherwise.
"""

import time
import traceback


class Failure(Exception):
    """Something is not as it should be. `output` is what the client said."""

    def __init__(self, reason, output=""):
        super().__init__(reason)
        self.output = output


class Skip(Exception):
    """It cannot be tried here."""


class CannotRun(Exception):
    """Nothing can be run at all."""


def expect(condition, reason, output=""):
    if not condition:
        raise Failure(reason, str(output))


def equal(actual, expected, what):
    if actual != expected:
        raise Failure(f"{what}: expected {expected!r}, got {actual!r}")


def contains(text, *parts):
    missing = [part for part in parts if part not in text]
    if missing:
        raise Failure(f"the output lacks {', '.join(map(repr, missing))}", text)


def eventually(look, what, seconds=30, interval=0.2):
    """Waits until `look` returns something true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(interval)


def checks_of(module):
    """The checks of a module, in the order in which they stand there."""
    functions = [value for name, value in vars(module).items() if name.startswith("check_")]
    return sorted(functions, key=lambda function: function.__code__.co_firstlineno)


def _name(group, check):
    return f"{group}: {check.__doc__.strip().splitlines()[0].rstrip('.')}"


def _indent(text):
    lines = text.strip().splitlines()
    if len(lines) > 40:
        lines = lines[:20] + [f"... {len(lines) - 40} lines ..."] + lines[-20:]
    return "".join(f"    {line}\n" for line in lines)


class Report:
    """Prints a line for each check, and counts."""

    def __init__(self, pattern=None):
        self.ok = self.failed = self.skipped = 0
        self.pattern = pattern

    def wants(self, group, check):
        return not self.pattern or self.pattern.search(_name(group, check))

    def run(self, group, check, *arguments):
        name = _name(group, check)
        try:
            check(*arguments)
        except Skip as why:
            self.skip(name, why)
        except Failure as failure:
            self.fail(name, failure, failure.output)
        except Exception as error:  # A check that breaks must not end the others.
            self.fail(name, f"{type(error).__name__}: {error}", traceback.format_exc())
        else:
            self.ok += 1
            print(f"ok {name}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)

    def fail(self, name, reason, output=""):
        self.failed += 1
        print(f"FAILED {name}: {reason}\n{_indent(output)}", end="", flush=True)

    def close(self):
        print(f"clients: {self.ok} ok, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed else 0
