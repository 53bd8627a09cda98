"""A folder's lock, between real processes."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from srl_data.files import atomic_writer, write_bytes
from srl_data.lock import (
    FolderLock,
    LockedError,
    is_file_at,
    open_held,
    remove_left,
    try_lock,
)
from srl_data.passes.index import key_index

HOLD = """
import sys, time
from pathlib import Path
from srl_data.lock import FolderLock
FolderLock().take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_live_holder_is_named_by_host_and_process(tmp_path, holder):
    with pytest.raises(LockedError) as caught:
        FolderLock().take(tmp_path)
    told = str(caught.value)
    assert f"process {holder.pid} on {socket.gethostname()} since 20" in told
    assert str(tmp_path) in told
    assert caught.value.exit_code == 1


def test_the_lock_dies_with_its_process(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = FolderLock()
    lock.take(tmp_path)
    lock.release()


def test_released_it_can_be_taken_again_and_twice_by_one_is_once(tmp_path):
    first, second = FolderLock(), FolderLock()
    first.take(tmp_path)
    first.take(tmp_path)
    with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        second.take(tmp_path)
    first.release()
    second.take(tmp_path)
    second.release()


FORKS = """
import os, sys
from pathlib import Path
from srl_data.lock import FolderLock

folder = Path(sys.argv[1])
lock = FolderLock()
lock.take(folder)
(ready, tell), (wait, end) = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.write(tell, b"!")
    os.close(end)
    os.read(wait, 1)  # until the parent closes its end
    os._exit(0)
os.read(ready, 1)
lock._close()  # as the end of the process does
other = FolderLock()
other.take(folder)
other.release()
os.close(end)
os.waitpid(child, 0)
"""


def test_a_forked_child_that_outlives_its_parent_holds_nothing(tmp_path):
    # In a process of its own: the one that runs tests may be too large to be forked.
    subprocess.run([sys.executable, "-c", FORKS, str(tmp_path)], check=True, timeout=60)


def test_where_a_file_system_keeps_no_locks_a_note_says_so(tmp_path, monkeypatch):
    def refuse(_handle, _how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = FolderLock()
    lock.take(tmp_path)
    assert "keeps no locks" in lock.note
    assert str(tmp_path) in lock.note


def test_a_file_that_is_being_written_is_not_written_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr("srl_data.lock.PATIENCE_SECONDS", 0.05)
    path = tmp_path / "file"
    path.write_text("left by a killed process")
    with open_held(path) as file:
        file.write(b"whole")
        with pytest.raises(LockedError, match="another process is writing"):
            open_held(path)
        remove_left(path)
    assert path.read_bytes() == b"whole"
    remove_left(path)
    assert not path.exists()


def test_a_file_that_goes_as_it_is_opened_is_made_anew(tmp_path, monkeypatch):
    path, found = tmp_path / "file", []

    def look(handle, where):
        found.append(is_file_at(handle, where))
        if len(found) == 1:
            where.unlink()
            return False
        return found[-1]

    monkeypatch.setattr("srl_data.lock.is_file_at", look)
    with open_held(path) as file:
        file.write(b"whole")
    assert (path.read_bytes(), found) == (b"whole", [True, True])


def test_without_locks_files_are_written_and_none_is_removed(tmp_path, monkeypatch):
    def refuse(_handle, _how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "file"
    with open_held(path) as file:
        file.write(b"whole")
    remove_left(path)
    assert path.read_bytes() == b"whole"


def test_what_another_writes_under_the_same_number_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("srl_data.lock.PATIENCE_SECONDS", 0.05)
    for name, opened in (("tmp", atomic_writer), ("keys", key_index)):
        path = tmp_path / f".a.{os.getpid()}.{name}"
        with open_held(path) as file:
            file.write(b"half")
            with pytest.raises(LockedError), opened(tmp_path / "a"):
                pytest.fail("another has it")
        assert path.read_bytes() == b"half"


def test_a_whole_file_takes_its_name_while_it_is_held(tmp_path, monkeypatch):
    held = []
    replace = Path.replace

    def look(self, target):
        with self.open("rb") as file:
            held.append(try_lock(file.fileno()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    write_bytes(tmp_path / "a", b"whole")
    assert (held, (tmp_path / "a").read_bytes()) == ([False], b"whole")
