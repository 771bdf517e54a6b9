"""Programs that users run: `python tools/NAME.py --help` describes each."""
