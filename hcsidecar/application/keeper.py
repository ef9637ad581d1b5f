"""The keeper: a small process that starts one script, logs its output, and lives as long as the script's processes.

It outlives the daemon. It runs as `python -I -S keeper.py`, with one connection to the daemon as standard input and
output. It imports little, because it takes memory as long as the application runs. Its command line names neither the
farm nor the script, because scripts kill processes by the words of their command lines.

The daemon sends the job, which is fields `name=value` with a zero byte after each, the last one `go=`, and closes its
half of the connection. The keeper answers with lines: `started PID`, then `ended CODE` as in
os.waitstatus_to_exitcode, or `failed STEP ERRNO`. It does not matter if the daemon ends, or never reads them.

The processes that the script leaves running have inherited the pipe to the keeper as their output, and become children
of the keeper when they lose their parent (prctl(2), PR_SET_CHILD_SUBREAPER). The keeper always reads the pipe, so no
writer blocks or gets SIGPIPE. It ends when it has no descendants and the pipe has no writers.
"""

import os
import select
import signal
import sys

CHUNK = 65536
"Bytes; the capacity of a pipe on Linux."
_PR_SET_CHILD_SUBREAPER = 36


class Log:
    """A log of two files, `path` and `path.old`, which together have at most `limit` bytes.

    Output that cannot be written is discarded, for example when the disk is full.
    """

    def __init__(self, path: bytes, *, limit: int, owner: int) -> None:
        """Append to the existing log; the files are given to the user id `owner` if the process may do that."""
        self._path = path
        self._half = limit // 2
        self._owner = owner
        self._size = 0
        self._file = -1
        self._open()

    def write(self, data: bytes) -> None:
        """Append; when the file has half of the limit, rename it and begin a new one."""
        data = data[-2 * self._half :]
        if self._file >= 0:
            self._follow()
        while data:
            if self._size >= self._half:
                self._rotate()
            try:
                written = os.write(self._file, data[: self._half - self._size])
            except OSError:
                if self._file < 0:
                    self._open()
                return
            self._size += written
            data = data[written:]

    def _follow(self) -> None:
        """Begin a new file if somebody has removed the log or its directory."""
        try:
            if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                return
        except OSError:
            pass
        os.close(self._file)
        self._file, self._size = -1, 0
        directory = os.path.dirname(self._path)
        try:
            os.mkdir(directory, 0o700)
            os.chown(directory, self._owner, -1)
        except OSError:
            pass
        self._open()

    def _open(self) -> None:
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = os.fstat(self._file).st_size
            if self._owner != os.geteuid():
                os.fchown(self._file, self._owner, -1)
        except OSError:
            pass

    def _rotate(self) -> None:
        try:
            os.rename(self._path, self._path + b".old")
        except OSError:
            # The file cannot be renamed. The limit still applies.
            try:
                os.ftruncate(self._file, 0)
            except OSError:
                pass
            self._size = 0
            return
        os.close(self._file)
        self._file, self._size = -1, 0
        self._open()


class Keeper:
    """One script and the processes that it leaves running."""

    def __init__(self, job: dict[bytes, list[bytes]], daemon: int) -> None:
        """`job` has the fields that the daemon sent; `daemon` is the descriptor for the answers."""
        self._job = job
        self._daemon = daemon
        self._log = Log(job[b"log"][0], limit=int(job[b"limit"][0]), owner=int(job[b"owner"][0]))
        self._script = 0
        self._has_children = True

    def run(self) -> None:
        """Start the script, and return when all its processes have ended."""
        wakeup, wake = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        output, self._failure = self._start()
        poll = select.poll()
        for descriptor in (wakeup, output, self._failure):
            poll.register(descriptor, select.POLLIN)
        has_writers = True
        while has_writers or self._has_children:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if output in ready and not self._log_output(output):
                poll.unregister(output)
                has_writers = False
            if self._failure in ready:
                poll.unregister(self._failure)
                self._tell_failure()
            if wakeup in ready:
                _read(wakeup)
                self._reap(output)
        _remove(self._job[b"record"][0])

    def _start(self) -> tuple[int, int]:
        """Start the script; return the descriptor of its output, and that of the reason if it could not be started."""
        output, output_end = os.pipe()
        failure, failure_end = os.pipe()
        try:
            self._script = os.fork()
        except OSError as error:
            _say(self._daemon, b"failed fork %d\n" % (error.errno or 0))
            self._has_children = False
        if self._script == 0 and self._has_children:
            self._become_the_script(output_end, failure_end)
        os.close(output_end)
        os.close(failure_end)
        if self._has_children:
            # Wait until the process group exists; before that nobody could end the script.
            os.read(failure, 1)
            self._write_record()
            _say(self._daemon, b"started %d\n" % self._script)
        os.set_blocking(output, False)
        os.set_blocking(failure, False)
        return output, failure

    def _become_the_script(self, output: int, failure: int) -> None:
        step = b"exec"
        try:
            _reset_signals()
            os.umask(0o022)
            os.setsid()
            _say(failure, b".")
            os.dup2(output, 1)
            os.dup2(output, 2)
            step = b"directory"
            os.chdir(self._job[b"directory"][0])
            step = b"exec"
            arguments = self._job[b"argument"]
            variables = (variable.partition(b"=") for variable in self._job[b"variable"])
            environment = {name: value for name, _, value in variables}
            os.execve(arguments[0], arguments, environment)  # noqa: S606 - no shell, which is what is wanted
        except OSError as error:
            _say(failure, b"%s %d" % (step, error.errno or 0))
        finally:
            os._exit(127)

    def _log_output(self, output: int) -> bool:
        """Log a piece of output. Return False if the pipe has no writers any more."""
        piece = _read(output)
        if piece:
            self._log.write(piece)
        return piece != b""

    def _reap(self, output: int) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._has_children = False
                return
            if pid == 0:
                return
            if pid == self._script:
                # Log its last output, which is in the pipe, before reporting its end. Limited, as others may write too.
                for _ in range(16):
                    if not (piece := _read(output)):
                        break
                    self._log.write(piece)
                self._tell_failure()
                _say(self._daemon, b"ended %d\n" % os.waitstatus_to_exitcode(status))

    def _tell_failure(self) -> None:
        if reason := _read(self._failure):
            _say(self._daemon, b"failed %s\n" % reason)

    def _write_record(self) -> None:
        """Write the record of this keeper for later daemons; see hcsidecar.core.application.leftover_processes."""
        try:
            # The same as hcsidecar.system.machine_start.boot_id, without importing it.
            with open("/proc/sys/kernel/random/boot_id", "rb") as file:
                boot = file.read().strip()
            words = [boot, *_numbers(os.getpid()), *_numbers(self._script), self._job[b"unit"][0]]
            record = os.open(self._job[b"record"][0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(record, b" ".join(words))
            if int(self._job[b"owner"][0]) != os.geteuid():
                os.fchown(record, int(self._job[b"owner"][0]), -1)
            os.close(record)
        except (OSError, IndexError):
            pass


def _numbers(pid: int) -> list[bytes]:
    """Return a process's id and its start time."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name may contain blanks and brackets. The start time is the 22nd field; see proc(5).
        return [b"%d" % pid, file.read().rpartition(b")")[2].split()[19]]


def _read(descriptor: int) -> bytes | None:
    """Read a piece; return b"" at the end, None if there is nothing now."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _say(descriptor: int, line: bytes) -> None:
    try:
        os.write(descriptor, line)
    except OSError:
        pass


def _remove(path: bytes) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _read_job() -> dict[bytes, list[bytes]] | None:
    """Return the values by name; None if the daemon did not send the whole job."""
    said = b""
    while piece := _read(0):
        said += piece
    if not said.endswith(b"\0go=\0"):
        return None
    job: dict[bytes, list[bytes]] = {}
    for field in said.split(b"\0"):
        name, _, value = field.partition(b"=")
        job.setdefault(name, []).append(value)
    return job


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # SIGKILL and SIGSTOP
            pass
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _become_ordinary() -> None:
    """Give up the daemon's priority and its protection from the OOM killer, which the application must not have."""
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except (AttributeError, OSError):
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        pass
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            if int(file.read()) < 0:
                file.write(b"0")
    except OSError:
        pass


def _adopt_orphans() -> None:
    """Become the parent of orphaned descendants. If that fails, only HCSIDECAR_RUN in the environment marks them."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, AttributeError, OSError):
        pass


def main() -> None:
    """Do the job that the daemon sends over standard input; with --detach in the background."""
    if "--detach" in sys.argv[1:]:
        try:
            if os.fork():
                os._exit(0)
        except OSError as error:
            sys.exit(f"no process can be started: {error.strerror}")
        os.setsid()
    _reset_signals()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    os.umask(0o077)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 2)
    job = _read_job()
    daemon = os.dup(1)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    if job is None:
        return
    _become_ordinary()
    _adopt_orphans()
    Keeper(job, daemon).run()


if __name__ == "__main__":
    main()
