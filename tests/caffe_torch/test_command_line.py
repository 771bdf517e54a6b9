"""Flags in gflags' form, and how a command ends. Those of `caffe` itself: test_main.py."""

import pytest
from caffe import command_line

DEFAULTS = {"gray": False, "size": 0, "type": ""}


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], {}),
        (["-gray"], {"gray": True}),
        (["--gray=yes"], {"gray": True}),
        (["-gray=F"], {"gray": False}),
        (["-gray", "-nogray"], {"gray": False}),
        (["-size", "-3", "--type=a=b"], {"size": -3, "type": "a=b"}),
    ],
)
def test_flags_stand_among_the_words(arguments, expected):
    words, flags = command_line.parse(["one", *arguments, "two"], DEFAULTS)
    assert words == ["one", "two"]
    assert flags == {**DEFAULTS, **expected}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-gray=maybe"], "^-gray needs true or false, not 'maybe'$"),
        (["-gray="], "^-gray needs true or false, not ''$"),
        (["-nogray=1"], "^unknown flag '-nogray=1': -help lists them$"),
        (["-size=x"], "^-size needs a whole number, not 'x'$"),
        (["--size"], "^flag '--size' needs a value$"),
        (["---size=1"], "^unknown flag '---size=1'"),
    ],
)
def test_wrong_flags_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        command_line.parse(arguments, DEFAULTS)


def test_help_gives_no_words():
    assert command_line.parse(["one", "--help", "-unknown"], DEFAULTS)[0] is None


@pytest.mark.parametrize(
    "error, status, message",
    [
        (ValueError("wrong"), 1, "caffe: error: wrong\n"),
        (PermissionError(13, "Permission denied", "f"), 1, "caffe: error: f: Permission denied\n"),
        (FloatingPointError("nan"), 1, "caffe: error: nan\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_of_the_user_is_a_line_and_a_status(error, status, message, capfd):
    def fail(given):
        assert given == "argument"
        raise error

    assert command_line.run(fail, "argument") == status
    assert capfd.readouterr().err == message


def test_a_status_is_passed_on():
    assert [command_line.run(lambda status=status: status) for status in (None, 0, 3)] == [0, 0, 3]
