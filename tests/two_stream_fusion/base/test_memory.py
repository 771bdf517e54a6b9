import pytest

from two_stream_fusion.base import cli, memory


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 8 GiB, 3 of them free, 1 of swap, without control groups."""
    write(tmp_path / "meminfo", "MemTotal: 8388608 kB\nMemAvailable: 3145728 kB\nSwapFree: 1048576 kB\n")
    write(tmp_path / "own", "")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_address_space", lambda: memory.UNLIMITED)
    return tmp_path


def test_free_memory_and_swap_are_available(machine):
    assert memory.available() == 4 * 2**30


def test_the_machine_counts_where_nothing_is_said_to_be_free(machine):
    (machine / "meminfo").unlink()
    assert memory.available() >= 2**28


@pytest.mark.parametrize("group", ["/job", "/job/step"])
def test_limits_of_control_groups_count(machine, group):
    """A group and those that it is in; the page cache can be dropped."""
    write(machine / "own", f"0::{group}\n")
    folder = machine / "cgroup/job"
    write(folder / "memory.max", str(2**30))
    write(folder / "memory.current", str(2**29))
    write(folder / "memory.stat", f"anon 1\ninactive_file {2**28}\n")
    (folder / "step").mkdir()
    assert memory.available() == 2**29 + 2**28
    write(folder / "memory.max", "max")
    assert memory.available() == 4 * 2**30


def test_limits_of_control_groups_of_the_first_version_count(machine):
    write(machine / "own", "5:cpu:/\n4:memory:/not/seen/here\n")
    folder = machine / "cgroup/memory"
    write(folder / "memory.limit_in_bytes", str(2**30))
    write(folder / "memory.usage_in_bytes", str(2**29))
    write(folder / "memory.stat", "total_inactive_file 0\n")
    assert memory.available() == 2**29


def test_a_refusal_says_what_is_needed_and_free(machine):
    memory.require_memory(2**30, "x.png")
    with pytest.raises(MemoryError) as error:
        memory.require_memory(20 * 2**30, "x.png: 9x9 pixels")
    line = cli.user_message(error.value)
    assert line.startswith("x.png: 9x9 pixels: not enough memory: 20 GiB are needed, 4.0 are free; ")
    assert cli.user_message(MemoryError("Unable to allocate")) == "not enough memory"
