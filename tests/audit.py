"""Ask the register of published faults (OSV) about every package that the lock pins: `make audit`, by the network.

uv asks for a script that needs exactly these packages. Exit 1 where one has a published fault; its id and the version
that mends it are printed.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"([A-Za-z0-9._-]+==[^ ;\\]+(?: ; [^\\]*[^ \\])?)(?: *\\)?")


def script(lock: str) -> str:
    """Write a script that needs what a lock pins, with its markers."""
    pins = [found[1] for line in lock.splitlines() if (found := _PIN.fullmatch(line))]
    needs = "".join(f'#   "{pin}",\n' for pin in pins)
    return f'# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n{needs}# ]\n# ///\n'


def main(arguments: list[str]) -> int:
    """Ask, and give the exit code; options go to `uv audit`, such as `--service-url` for a register of one's own."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "audit.py"
        file.write_text(script((ROOT / "requirements.lock").read_text("utf-8")), encoding="utf-8")
        uv = Path(sys.executable).with_name("uv")
        words = [uv, "audit", "--preview-features", "audit-command", "--script", file, *arguments]
        return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
