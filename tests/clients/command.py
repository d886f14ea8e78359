"""Runs the programs that are tried, each command with a time limit, and judges how it ended."""

import os
import signal
import subprocess
import threading

from .report import Failure, contains, expect

# No command of a check takes so long unless something is wrong.
LIMIT_SECONDS = 90


class Result:
    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    @property
    def all(self):
        return f"$ {' '.join(map(str, self.arguments))}\n{self.out}{self.err}"


class Command:
    """A program with the environment that it runs in."""

    def __init__(self, program, environment):
        self.program = str(program)
        self.environment = environment

    def run(self, *arguments, input=None, env=None, seconds=LIMIT_SECONDS):
        """Runs it to its end, however it ends."""
        shown = [os.path.basename(self.program), *arguments]
        process = subprocess.Popen(
            [self.program, *map(str, arguments)],
            env={**self.environment, **(env or {})},
            # A client that finds no input waits for none.
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            out, err = process.communicate(input, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failure(f"no end within {seconds} s", Result(shown, None, out, err).all) from None
        except BaseException:
            process.kill()
            process.wait()
            raise
        return Result(shown, process.returncode, out, err)

    def __call__(self, *arguments, says=(), **options):
        """Has to succeed, and to say what `says` lists; what it printed."""
        result = self.run(*arguments, **options)
        expect(result.code == 0, f"exit code {result.code}", result.all)
        try:
            contains(result.out, *([says] if isinstance(says, str) else says))
        except Failure as failure:
            raise Failure(str(failure), result.all) from None
        return result.out

    def refused(self, *arguments, says, code=None, **options):
        """Has to fail, and to say why on its error output."""
        result = self.run(*arguments, **options)
        expect(result.code != 0, "it should have failed", result.all)
        expect(code in (None, result.code), f"exit code {result.code} instead of {code}", result.all)
        try:
            contains(result.err, *([says] if isinstance(says, str) else says))
        except Failure as failure:
            raise Failure(str(failure), result.all) from None
        return result.err

    def until(self, *arguments, seen, meanwhile=None, seconds=30):
        """Runs something that has no end of its own until a line of its output satisfies `seen`; the lines so far.

        `meanwhile` is called when the first line has come.
        """
        process = subprocess.Popen(
            [self.program, *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if meanwhile:
                    meanwhile, call = None, meanwhile
                    call()
                if seen(lines[-1]):
                    return lines
        finally:
            timer.cancel()
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        shown = Result([os.path.basename(self.program), *arguments], None, "\n".join(lines), "")
        raise Failure(f"what was waited for did not come within {seconds} s", shown.all)
