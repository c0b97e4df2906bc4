"""Wheels for an installation without a network: ours as it stands, a newer one, and those of what we need, from this venv."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]


def ours(directory: Path) -> Path:
    """Build the wheel of this repository."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(directory), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert 0 == done.returncode, done.stderr
    (wheel,) = directory.glob("postroom-*.whl")
    return wheel


def newer(wheel: Path, version: str, files: dict[str, str]) -> Path:
    """Make a wheel of another version out of one, with these files more."""
    with zipfile.ZipFile(wheel) as old:
        kept = {name: old.read(name) for name in old.namelist() if not name.endswith("RECORD")}
    before = wheel.name.split("-")[1]
    renamed = {
        name.replace(f"postroom-{before}.dist-info", f"postroom-{version}.dist-info"): kept[name] for name in kept
    }
    about = f"postroom-{version}.dist-info/METADATA"
    renamed[about] = renamed[about].replace(f"\nVersion: {before}\n".encode(), f"\nVersion: {version}\n".encode())
    renamed |= {name: text.encode() for name, text in files.items()}
    return _write(wheel.with_name(wheel.name.replace(f"-{before}-", f"-{version}-")), renamed)


def needed(directory: Path) -> None:
    """Make the wheels of everything that postroom needs, out of what is installed here."""
    wanted, done = ["postroom"], {"postroom"}
    while wanted:
        for requirement in metadata.requires(wanted.pop()) or []:
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            if "extra ==" in requirement or name.lower() in done:
                continue
            try:
                found = metadata.distribution(name)
            except metadata.PackageNotFoundError:  # needed on other systems or Pythons alone
                continue
            done.add(name.lower())
            wanted.append(name)
            _again(found, directory)


def _again(found: metadata.Distribution, directory: Path) -> None:
    files: dict[str, bytes] = {}
    for file in found.files or []:
        # Scripts are made anew from entry_points, and octets of a compiler from sources.
        if ".." not in file.parts and file.suffix != ".pyc" and file.name not in {"RECORD", "INSTALLER", "REQUESTED"}:
            files[str(file)] = file.read_binary()
    (about,) = (text.decode() for name, text in files.items() if name.endswith(".dist-info/WHEEL"))
    tags = re.findall(r"^Tag: (\S+)", about, re.MULTILINE)
    pythons, abis, platforms = (
        ".".join(dict.fromkeys(parts)) for parts in zip(*(t.split("-") for t in tags), strict=True)
    )
    (folder,) = {name.partition("/")[0] for name in files if ".dist-info/" in name}
    _write(directory / f"{folder.removesuffix('.dist-info')}-{pythons}-{abis}-{platforms}.whl", files)


def _write(path: Path, files: dict[str, bytes]) -> Path:
    (folder,) = {name.partition("/")[0] for name in files if ".dist-info/" in name}
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b'=').decode()},{len(text)}"
        for name, text in files.items()
    ]
    with zipfile.ZipFile(path, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
        made.writestr(f"{folder}/RECORD", "\n".join([*record, f"{folder}/RECORD,,", ""]))
    return path
