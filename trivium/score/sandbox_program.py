"""A program that runs another one where it can harm nobody: `python sandbox_program.py STATUS`, one object of JSON on stdin.

in: {"source": Python, "stdin": text, "cpu_s", "memory_bytes", "file_bytes", "num_processes"}. What it prints goes to stdout and stderr.
out, the first line on the file descriptor STATUS: {"code": exit code, negative for a signal} or {"error": what the system refused}.

The program is process 1 of namespaces of its own, as a user without rights: it sees no other process, has no network, an empty
environment, an empty keyring of its session, and of the file system the interpreter with its libraries, read-only, and an empty /tmp in
memory. There is no /proc, no shell. It dies with us, and we with whoever started us. Nothing of trivium is imported here.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
PYTHON = os.path.realpath(sys.executable)  # not of a virtual environment, which is a link to it
NOBODY = 65534
NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000  # mounts, names, IPC, users, processes, network
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 4096, 16384, 1 << 18, 2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, READ_ONLY_NOSUID_NODEV = 442, -100, 0x8000, 7
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
KEYCTL = {"x86_64": 250, "aarch64": 219}  # the number of the system call
KEYCTL_JOIN_SESSION_KEYRING = 1
PATIENCE = 5000  # milliseconds
ROOT = "/proc"  # where the new root is built: it is there on every system, and nothing that is shown lies below it
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "HOME": "/tmp"}  # the same answer has the same sets each time


def main() -> None:
    """Run it, and say how it ended."""
    status = int(sys.argv[1])
    os.set_inheritable(status, False)
    asked = json.load(sys.stdin)
    os.umask(0o022)
    try:
        _checked("to end with its parent", _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        is_root = os.geteuid() == 0
        _enter_namespaces(is_root)
        _build_root(asked["source"], asked["file_bytes"])
        _say(status, code=_run(asked, is_root, status))
    except OSError as error:
        _say(status, error=str(error.strerror or error))


def _say(status: int, **told: object) -> None:
    os.write(status, (json.dumps(told) + "\n").encode())


def _checked(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _enter_namespaces(is_root: bool) -> None:
    """Leave the system. A helper outside says who we are inside: nobody, and root too where we must not stay root outside."""
    me, (read, write) = os.getpid(), os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(write)
        failed = 1
        with suppress(OSError):
            if os.read(read, 1):
                _write_maps(me, is_root)
                failed = 0
        os._exit(failed)
    os.close(read)
    try:
        _checked("new namespaces (unshare)", _libc.unshare(NAMESPACES))
        os.write(write, b"1")
    finally:
        os.close(write)
        _, ended = os.waitpid(helper, 0)
    if ended:
        raise OSError(0, f"the user map of the new namespace could not be written for user {os.geteuid()}")
    _checked("to end with its parent", _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _write_maps(process: int, is_root: bool) -> None:
    if not is_root:
        _write(f"/proc/{process}/setgroups", "deny")
    for name, outside in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        # the number of processes of user 0 of the system is never limited, so root runs the program as nobody
        _write(f"/proc/{process}/{name}", f"0 0 1\n{NOBODY} {NOBODY} 1\n" if is_root else f"{NOBODY} {outside} 1\n")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _checked(f"mounting {target}", result)


def _build_root(source: str, file_bytes: int) -> None:
    """Make a root that shows what Python needs and /tmp, and go there."""
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    with suppress(OSError):  # namespaces within ours would be harmless, only more of the kernel to attack
        _write("/proc/sys/user/max_user_namespaces", "0")
    _mount("tmpfs", ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    with open(f"{ROOT}/program.py", "w", encoding="utf-8") as file:
        file.write(source)
    shown: list[str] = []
    for path in _needed():
        if not any(path == above or path.startswith(f"{above}/") for above in shown) and _show(path):
            shown.append(path)
    os.mkdir(f"{ROOT}/tmp")
    for device in DEVICES:
        _place(device)
    _make_read_only(ROOT)
    _mount("tmpfs", f"{ROOT}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={file_bytes},nr_inodes=1024,mode=1777")
    for device in DEVICES:
        _mount(device, ROOT + device, "", MS_BIND)
    os.chdir(ROOT)
    _checked("going to the new root (pivot_root)", _libc.pivot_root(b".", b"."))
    _checked("leaving the old root", _libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def _needed() -> list[str]:
    """The interpreter, the standard library and the system's libraries; shorter paths first."""
    libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64"]
    own = [PYTHON, os.path.dirname(os.__file__)]
    return sorted({os.path.normpath(path) for path in libraries + own if os.path.lexists(path)}, key=lambda path: (len(path), path))


def _show(path: str) -> bool:
    """Show a path in the new root as it is; False for a link, behind which there may be nothing."""
    if os.path.islink(path):
        os.makedirs(ROOT + os.path.dirname(path), exist_ok=True)
        os.symlink(os.readlink(path), ROOT + path)
        return False
    _place(path)
    _mount(path, ROOT + path, "", MS_BIND | MS_REC)
    return True


def _place(path: str) -> None:
    if os.path.isdir(path):
        os.makedirs(ROOT + path, exist_ok=True)
    else:
        os.makedirs(ROOT + os.path.dirname(path), exist_ok=True)
        os.close(os.open(ROOT + path, os.O_CREAT | os.O_WRONLY, 0o644))


def _make_read_only(path: str) -> None:
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY_NOSUID_NODEV, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(MOUNT_SETATTR), ctypes.c_long(AT_FDCWD), path.encode(), ctypes.c_long(AT_RECURSIVE), attributes, ctypes.c_long(32)
    )
    _checked("a read-only file system (mount_setattr, Linux 5.12)", result)


def _run(asked: dict[str, Any], is_root: bool, status: int) -> int:
    """Start the program as process 1 and wait for it; its exit code, negative for a signal."""
    alive, ours = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            _become_nobody(asked, is_root)
            if select.select([alive], [], [], 0)[0]:  # its other end is closed: our parent died before the line above
                os._exit(1)
            _execute(asked["stdin"])
        except Exception as error:  # our parent's work must not go on in the child, whatever it is
            _say(status, error=str(error))
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become_nobody(asked: dict[str, Any], is_root: bool) -> None:
    os.setsid()
    _forget_keys()
    if is_root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _checked("to end with its parent", _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    _checked("no new rights", _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    limits = {
        resource.RLIMIT_CPU: asked["cpu_s"], resource.RLIMIT_AS: asked["memory_bytes"], resource.RLIMIT_FSIZE: asked["file_bytes"],
        resource.RLIMIT_NPROC: asked["num_processes"], resource.RLIMIT_NOFILE: 64, resource.RLIMIT_CORE: 0,
    }  # fmt: skip
    for limit, value in limits.items():
        _, highest = resource.getrlimit(limit)
        bound = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(limit, (bound, bound))


def _forget_keys() -> None:
    """Take a new keyring for the session: no namespace keeps the caller's keys from us."""
    number = KEYCTL.get(platform.machine())
    if number is None:
        raise OSError(0, f"keyrings of sessions are not known for the processor {platform.machine()}")
    refused = 0
    for _ in range(PATIENCE):
        if _libc.syscall(ctypes.c_long(number), ctypes.c_long(KEYCTL_JOIN_SESSION_KEYRING), None) >= 0:
            return
        refused = ctypes.get_errno()
        if refused in (errno.ENOSYS, errno.EPERM):  # no keys in the kernel, or a filter that keeps us from them for good
            return
        if refused != errno.EDQUOT:  # a user other than root has 200, and those of programs that ended are given back a little later
            break
        time.sleep(0.001)
    raise OSError(refused, f"a new keyring (keyctl): {os.strerror(refused)}")


def _execute(stdin: str) -> None:
    given = os.memfd_create("stdin")
    with os.fdopen(os.dup(given), "w", encoding="utf-8") as file:
        file.write(stdin)
    os.lseek(given, 0, os.SEEK_SET)
    os.dup2(given, 0)
    os.chdir("/tmp")
    os.execve(PYTHON, [PYTHON, "-S", "-s", "-P", "-B", "/program.py"], ENVIRONMENT)


if __name__ == "__main__":
    main()
