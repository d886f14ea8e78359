"""The server under test: one that a kubeconfig names, or a private control plane with hollow nodes."""

import pathlib
import signal
import subprocess
import threading

from .report import CannotRun

START_SECONDS = 120
STOP_SECONDS = 30


class Sim:
    """A private control plane; ends with the block that it is used in."""

    def __init__(self, program, nodes, directory):
        self.program, self.nodes, self.directory = program, nodes, pathlib.Path(directory)
        self.kubeconfig = self.directory / "sim.kubeconfig"
        self.process = None

    def __enter__(self):
        (self.directory / "tmp").mkdir()
        self.log = open(self.directory / "sim.log", "w+", encoding="utf-8")
        try:
            self.process = subprocess.Popen(
                [self.program, "--nodes", str(self.nodes), "--kubeconfig-out", self.kubeconfig],
                env={"TMPDIR": str(self.directory / "tmp"), "RUST_BACKTRACE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                # Ctrl-C is for the script, which ends it in order.
                start_new_session=True,
            )
        except OSError as error:
            raise CannotRun(f"cannot start {self.program}: {error}") from error
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        try:
            # The last line that it prints when all nodes are ready begins so.
            if not any(line.startswith("end ") for line in self.process.stdout):
                raise CannotRun(f"{self.program} was not ready within {START_SECONDS} s: {self.said()}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        finally:
            timer.cancel()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def ended(self):
        """What it said when it ended by itself; none while it runs."""
        return None if self.process.poll() is None else f"exit code {self.process.returncode}: {self.said()}"

    def said(self):
        self.log.flush()
        return (self.directory / "sim.log").read_text(errors="replace").strip()[-2000:] or "nothing was logged"
