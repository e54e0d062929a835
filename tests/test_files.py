import errno
import json
import resource
import shutil
import subprocess
import sys

import pytest

from tfhash import files


def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_none_of_the_directories_that_it_made_but_those_of_others(tmp_path):
    for written in ([], [tmp_path / "new" / "other.txt"]):
        with pytest.raises(KeyError), files.atomic_write(tmp_path / "new" / "newer" / "a.txt"):
            for path in written:
                path.write_text("other")
            raise KeyError
        assert list(tmp_path.rglob("*.txt")) == written
        assert (tmp_path / "new").exists() == bool(written)
        assert not (tmp_path / "new" / "newer").exists()


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), files.atomic_write(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "part").write_text("")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with files.atomic_write(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "part").write_text("")
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["part"]


@pytest.mark.parametrize("path", ["", "new", "new/new", "link to here/new"])
def test_a_directory_may_be_there_or_be_made(tmp_path, path):
    (tmp_path / "link to here").symlink_to(tmp_path)
    files.check_directory(tmp_path / path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("file", "file is a file"),
        ("file/new/new", "file is a file"),
        ("link to file/new", "link to file is a file"),
        ("dangling", "dangling is a link that leads nowhere"),
        ("dangling/new", "dangling is a link that leads nowhere"),
    ],
)
def test_no_directory_can_be_made_in_the_place_of_a_file(tmp_path, path, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "link to file").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(NotADirectoryError, match=f"directory {tmp_path / path}: {tmp_path}/{said}"):
        files.check_directory(tmp_path / path)


def test_a_write_error_names_the_file(tmp_path):
    path = tmp_path / "report.json"
    expected = pytest.raises(OSError, match=f"^could not write {path}: No space left on device")
    with expected, files.atomic_write(path):
        raise OSError(errno.ENOSPC, "what a library says")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_not_mixed_in_and_can_be_removed(tmp_path):
    with files.atomic_write(tmp_path / "model") as temporary:
        temporary.mkdir()
    left = temporary
    left.mkdir()
    left.with_name(f".lock-of{left.name}").touch()
    (left / "stale").write_text("")
    shutil.rmtree(tmp_path / "model")
    with files.atomic_write(tmp_path / "model") as temporary:
        assert not temporary.exists()
        temporary.mkdir()
    assert list((tmp_path / "model").iterdir()) == []
    left.mkdir()
    files.remove_partial(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_threads_that_write_to_one_path_do_not_mix(tmp_path):
    path = tmp_path / "index"
    with files.atomic_write(path) as first:
        first.write_text("first")
        with files.atomic_write(path) as second:
            assert second != first
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_what_is_found_by_the_name_of_the_file_and_no_other(tmp_path):
    program = (
        "import os, sys; from tfhash import files\n"
        "writes = [files.atomic_write(path) for path in sys.argv[1:] for _ in range(2)]\n"
        "for each in writes: each.__enter__().write_text('')\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "a[1]", tmp_path / "b-a[1]"])
    left = sorted(tmp_path.iterdir())
    assert len(left) == 8  # each with its lock
    files.remove_partial(tmp_path, "a[1]")
    assert sorted(tmp_path.iterdir()) == [path for path in left if path.name.endswith("b-a[1]")]
    files.remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_write_of_a_process_removes_what_a_killed_one_left(tmp_path):
    program = (
        "import os, sys; from tfhash import files\n"
        "writing = files.atomic_write(sys.argv[1] + '/a'); writing.__enter__().write_text('half')\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path])
    assert len(list(tmp_path.iterdir())) == 2  # with its lock
    (tmp_path / ".partial-1-0-b").write_text("of which no lock tells")
    files.write_json(tmp_path / "c", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-1-0-b", "c"]


def test_a_directory_that_another_write_made_and_removed_is_made_again(tmp_path, monkeypatch):
    take = files._take

    def removed_before(lock, flags):
        monkeypatch.setattr(files, "_take", take)
        lock.parent.rmdir()
        return take(lock, flags)

    monkeypatch.setattr(files, "_take", removed_before)
    files.write_json(tmp_path / "new" / "a", 1)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_json_has_null_for_nan(tmp_path):
    files.write_json(tmp_path / "a.json", {"map": float("nan"), "epochs": [1.5, float("nan")]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"map": None, "epochs": [1.5, None]}


def test_a_file_system_that_takes_no_more_keeps_the_old_file(tmp_path):
    """The kernel refuses bytes past a limit, as a full disk does in the middle of a file."""
    path = tmp_path / "data.json"
    files.write_json(path, "old")
    program = f"from tfhash import files; files.write_json({str(path)!r}, 'x' * 100_000)"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 1
    assert f"could not write {path}" in finished.stderr
    assert json.loads(path.read_text()) == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("pid", [2**22 + 7, 1])
def test_a_writer_keeps_its_file_whatever_its_process_id_and_a_killed_one_does_not(tmp_path, pid):
    script = (
        "import os, sys, time; from tfhash import files; "
        f"os.getpid = lambda: {pid}\n"
        "with files.atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); print('written', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "note.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout.readline() == b"written\n"
            files.remove_abandoned(tmp_path)
            assert (tmp_path / f".partial-{pid}-0-note.txt").read_text() == "half"
            with pytest.MonkeyPatch.context() as patch:  # a writer of the same id elsewhere
                patch.setattr(files.os, "getpid", lambda: pid)
                files.write_json(tmp_path / "note.txt", 1)
            assert (tmp_path / f".partial-{pid}-0-note.txt").read_text() == "half"
        finally:
            writer.kill()
    files.remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_what_has_no_lock_is_kept_and_named(tmp_path, monkeypatch):
    old = tmp_path / ".partial-4194311-0-old.txt"
    old.write_text("half")
    with pytest.warns(UserWarning, match="4194311-0-old.txt is kept"):
        files.remove_abandoned(tmp_path)
    old.unlink()

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with files.atomic_write(tmp_path / "note.txt") as temporary:
        temporary.write_text("whole")
        with pytest.warns(UserWarning, match="0-note.txt is kept"):
            files.remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert (tmp_path / "note.txt").read_text() == "whole"
