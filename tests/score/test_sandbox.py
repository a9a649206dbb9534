"""What a program in the sandbox cannot do. Each case is one that would harm the machine, or at least stop the test, without it."""

import ctypes
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from trivium.core.errors import ResourceError
from trivium.score import sandbox
from trivium.score.sandbox import Limits, check_sandbox, run_python


def why_not() -> str:
    """Why there is no sandbox here: the kernel or a container refuses namespaces."""
    try:
        check_sandbox()
    except ResourceError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
QUICK = Limits(wall_s=20, cpu_s=1)


def said(source: str, limits: Limits = QUICK, stdin: str = "") -> str:
    """What a program prints; that it ended well is not asked."""
    return run_python(source, stdin=stdin, limits=limits).stdout.strip()


def trying(*lines: str) -> str:
    """A program that does something and says by which error it failed."""
    body = "\n    ".join(lines)
    return f"import os, socket\ntry:\n    {body}\nexcept BaseException as error:\n    print(type(error).__name__)\nelse:\n    print('done')"


def sleeper(mark: str) -> str:
    """A program that sleeps under a name which others can see."""
    return f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)', {mark!r}])"


def wait_for(mark: str, wanted: bool) -> bool:
    """Wait until a process has that name, or none has."""

    def is_there() -> bool:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if process.read_bytes().endswith(f"\0{mark}\0".encode()):
                    return True
        return False

    deadline = time.monotonic() + 20
    while is_there() != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_there() == wanted


def test_a_program_runs_to_its_end():
    outcome = run_python("import sys; print(sys.stdin.read()); sys.stderr.write('e'); sys.exit(3)", stdin="héllo")
    assert (outcome.ended, outcome.code, outcome.stdout, outcome.stderr) == ("exit", 3, "héllo\n", "e")


def test_the_same_program_has_the_same_order_of_sets():
    assert len({said("print({'a', 'b', 'c', 'd', 'e'})") for _ in range(3)}) == 1


def test_it_is_nobody_and_sees_nobody():
    source = "import os; print(os.getpid(), os.getuid() != 0, os.path.exists('/proc/1'), sorted(os.environ))"
    assert said(source) == "1 True False ['HOME', 'LC_CTYPE', 'PYTHONHASHSEED', 'PYTHONUTF8']"


def test_it_cannot_read_the_environment_of_its_parents(monkeypatch):
    monkeypatch.setenv("A_SECRET_KEY", "hunter2")
    source = "import glob, os; print(os.environ.get('A_SECRET_KEY'), glob.glob('/proc/*/environ'))"
    assert said(source) == "None []"


@pytest.mark.parametrize("place", ["/outside", f"{sys.base_prefix}/lib/outside", "/dev/outside", "/usr/lib/outside"])
def test_it_writes_nothing_outside_its_own_tmp(place):
    assert said(trying(f"open({place!r}, 'w').write('x')")) in ("OSError", "PermissionError", "FileNotFoundError")
    assert not Path(place).exists()


def test_its_tmp_is_its_own(tmp_path):
    assert said("open('mine', 'w').write('x'); import os; print(os.listdir('/tmp'))") == "['mine']"
    assert not Path(tempfile.gettempdir(), "mine").exists()


def test_it_reads_no_files_of_the_user(tmp_path):
    (tmp_path / "private").write_text("x")
    for place in (tmp_path / "private", Path.home() / ".ssh", Path("/etc/passwd"), Path(__file__)):
        assert said(f"import os; print(os.path.exists({str(place)!r}))") == "False"


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_it_has_no_network(host):
    assert said(trying(f"socket.create_connection(({host!r}, 80), timeout=2)")) in ("OSError", "ConnectionRefusedError")


def test_it_has_no_new_rights():
    lines = (
        "import ctypes",
        "libc = ctypes.CDLL(None)",
        "assert libc.unshare(0x10000000) != 0",
        "assert libc.mount(b'x', b'/tmp', b'tmpfs', 0, b'')",
    )
    assert said(trying(*lines)) == "done"
    assert said(trying("os.setuid(0)")) == "PermissionError"


KEYS = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(platform.machine())  # the system calls add_key and keyctl
SESSION_KEYRING, SEARCH, UNLINK = -3, 10, 9


def test_it_finds_no_key_of_the_session_that_started_it():
    if KEYS is None:
        pytest.skip("the numbers of the system calls of keyrings are not known for this processor")
    (add_key, keyctl), name = KEYS, f"trivium-{os.getpid()}".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    key = libc.syscall(add_key, b"user", name, b"hunter2", ctypes.c_size_t(7), SESSION_KEYRING)
    if key < 0:
        pytest.skip(f"no keyrings here: {os.strerror(ctypes.get_errno())}")
    search = f"import ctypes; print(ctypes.CDLL(None).syscall({keyctl}, {SEARCH}, {SESSION_KEYRING}, b'user', {name!r}, 0) "
    try:
        here = subprocess.run([sys.executable, "-c", f"{search} == {key})"], capture_output=True, text=True, check=True)
        assert here.stdout == "True\n"
        assert said(f"{search} < 0)") == "True"
    finally:
        libc.syscall(keyctl, UNLINK, key, SESSION_KEYRING)


def test_a_fork_bomb_meets_the_limit_and_dies_with_its_namespace():
    mark = f"bomb-{os.getpid()}"
    bomb = "import os, sys\nwhile True:\n    try:\n        os.fork()\n    except BlockingIOError:\n        break\n"
    assert run_python(bomb + sleeper(mark), limits=Limits(wall_s=1.5, cpu_s=1)).ended == "time"
    assert wait_for(mark, False)


def test_the_number_of_processes_is_bounded():
    source = (
        "import os, time\nn = 0\ntry:\n    while n < 99:\n        os.fork() or time.sleep(9)\n        n += 1\nexcept OSError:\n    print(n)"
    )
    assert said(source, Limits(wall_s=9, num_processes=4)) in (
        "2",
        "3",
    )  # one of the four is what waits for the program, unless that is root


def test_an_endless_loop_is_ended_by_its_processor_time():
    outcome = run_python("while True: pass", limits=Limits(wall_s=30, cpu_s=1))
    assert (outcome.ended, outcome.code) == ("exit", -9)


def test_an_endless_sleep_is_ended_by_the_clock():
    started = time.monotonic()
    assert run_python("import time; time.sleep(60)", limits=Limits(wall_s=0.5)).ended == "time"
    assert time.monotonic() - started < 10


def test_memory_is_bounded():
    assert said(trying("bytearray(1 << 30)")) == "MemoryError"


def test_files_are_bounded():
    big = "open('x', 'wb').write(bytes(1 << 20))"
    assert said(trying(big), Limits(file_bytes=1 << 16)) in ("OSError", "")
    many = ("for n in range(64):", "    open(f'{n}', 'wb').write(bytes(1 << 15))")
    assert said(trying(*many), Limits(file_bytes=1 << 16)) == "OSError"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_bounded(stream):
    outcome = run_python(f"import sys\nwhile True: sys.{stream}.write('x' * 65536)", limits=Limits(wall_s=20, output_bytes=1 << 18))
    assert outcome.ended == "output"
    assert len(outcome.stdout) + len(outcome.stderr) <= 1 << 18


def test_killing_everybody_kills_nobody_else():
    assert said("import os\nos.kill(-1, 9)\nprint('still here')") in ("still here", "")
    assert said("print('and here')") == "and here"


def test_a_system_that_refuses_is_told_in_one_line(monkeypatch, tmp_path):
    broken = tmp_path / "sandbox_program.py"
    text = Path(sandbox._PROGRAM).read_text()
    broken.write_text(text.replace("_libc.unshare(NAMESPACES)", "_libc.unshare(-1)"))
    monkeypatch.setattr(sandbox, "_PROGRAM", broken)
    with pytest.raises(ResourceError, match=r"in a sandbox here: new namespaces \(unshare\): Invalid argument; allow user namesp"):
        run_python("print(1)")


def test_it_dies_with_whoever_started_it(tmp_path):
    mark = f"orphan-{os.getpid()}"
    starts = f"from trivium.score.sandbox import run_python; run_python({sleeper(mark)!r})"
    parent = subprocess.Popen([sys.executable, "-c", starts], cwd=Path(sandbox.__file__).parents[2])
    assert wait_for(mark, True)
    parent.kill()
    parent.wait()
    assert wait_for(mark, False)
