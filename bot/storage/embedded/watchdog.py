"""Runs the embedded Redis server, and ends it when no Parley process uses it any more.

It is started by its path, as `python -I -S watchdog.py USERS PID_FILE PROGRAM ARGUMENT...`, and imports
nothing of Parley. Processes that use the server hold a shared lock on USERS, which the kernel releases even
if they are killed. While the server runs, PID_FILE contains its process id, and the server holds its lock.
"""

import _thread
import fcntl
import os
import signal
import sys
import time

END_S = 10.0
"""How long the server may take to end before it is killed."""
_LOCK_S = 30
_PR_SET_PDEATHSIG = 1


def _start(pid_file: int, command: list[str]) -> int:
    """Start the server and return its process id."""
    import ctypes  # here, because Parley imports this module only for its path

    library = ctypes.CDLL(None)
    watchdog = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # Ignoring SIGXFSZ makes a file size limit an error in the log instead of a silent death.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if sys.platform == "linux":  # the kernel ends the server if the watchdog is killed
            library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != watchdog:
                os._exit(1)
        os.pwrite(pid_file, b"%d\n" % os.getpid(), 0)
        os.set_inheritable(pid_file, True)
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
    os._exit(127)


def _end_when_unused(users: int, server: int) -> None:
    fcntl.flock(users, fcntl.LOCK_EX)  # kept, so that new users wait until the server has ended
    os.kill(server, signal.SIGTERM)
    time.sleep(END_S)
    os.kill(server, signal.SIGKILL)


def main() -> None:
    """Exit with the server's exit code, or with 128 plus the number of the signal that killed it."""
    users_path, pid_path, *command = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the watchdog must outlive the server
    users = os.open(users_path, os.O_RDWR | os.O_CREAT, 0o600)
    pid_file = os.open(pid_path, os.O_RDWR | os.O_CREAT, 0o600)
    signal.alarm(_LOCK_S)  # give up if a running server holds the lock
    fcntl.flock(pid_file, fcntl.LOCK_EX)
    signal.alarm(0)
    server = _start(pid_file, command)
    _thread.start_new_thread(_end_when_unused, (users, server))
    code = os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
