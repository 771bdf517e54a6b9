"""Options given as KEY=VALUE, in one grammar for all commands."""

from __future__ import annotations

from typing import Iterable, Mapping


def parse_options(owner: str, defaults: Mapping[str, object], settings: Iterable[str]) -> dict[str, object]:
    """Options from strings KEY=VALUE, each of the type of its default.

    Where the default is None the value is a number, or a tuple of numbers with commas between.

    Args:
        owner: what takes the options, for messages.
        defaults: {option: default}.
        settings: strings KEY=VALUE, each key once.

    Returns:
        {option: value} of the given options.

    Raises:
        ValueError: an unknown key, a key that is given twice, or a value of another type.
    """
    options: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key in options:
            raise ValueError(f"{setting!r}: {key} is given twice")
        if not equals or key not in defaults:
            known = ", ".join(f"{name}={default}" for name, default in defaults.items())
            raise ValueError(f"{setting!r}: {owner} takes {known}")
        default = defaults[key]
        try:
            if isinstance(default, bool):
                options[key] = {"true": True, "false": False}[value.lower()]
            elif default is None:
                numbers = tuple(map(float, value.split(",")))
                options[key] = numbers if len(numbers) > 1 else numbers[0]
            else:
                options[key] = type(default)(value)  # type: ignore[call-arg]
        except (KeyError, ValueError):
            expected = "numbers are" if default is None else f"a value such as {default!r} is"
            raise ValueError(f"{setting!r}: {expected} needed") from None
    return options
