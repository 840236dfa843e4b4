"""The image, built by the steps of deploy/Dockerfile with buildah, on a base that debootstrap makes of Debian's packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.debian import program
from support.deployment import ROOT

_PIP = "/etc/pip.conf"


class Image:
    """Builds in ``directory``, which keeps layers and containers: nothing of it is left elsewhere. For root on Debian only."""

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may make a base with debootstrap")
        self._storage = ["--storage-driver", "vfs", "--root", directory / "root", "--runroot", directory / "run"]
        # What stands in for the base that is not to be had here: the same Python, of the same Debian.
        base = re.findall(r"^FROM (\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)[-1]
        release = base.rpartition("-")[2]
        packages = "--include=python3,python3-pip,python3-venv,ca-certificates"
        debian = directory / "debian"
        _run([program("debootstrap", "debootstrap"), "--variant=minbase", packages, release, debian])
        (debian / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        # Debian guards its own Python against pip; the official image does not.
        for guard in debian.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            guard.unlink()
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, debian, "/")
        self.buildah("commit", "--quiet", "--rm", container, f"docker.io/library/{base}")
        shutil.rmtree(debian)
        # pip finds its registry as it does outside.
        mounts = [f"--volume={path}:{path}:ro" for path in (_PIP, "/etc/ssl/certs") if Path(path).exists()]
        build = ["bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--pull-never", *mounts]
        self.buildah(*build, "--file", ROOT / "deploy/Dockerfile", "--tag", "tidegauge", ROOT)
        self.container = self.buildah("from", "--pull-never", "tidegauge")

    def buildah(self, *arguments: object) -> str:
        """What one call says; raises where it fails."""
        return _run(self.command(*arguments)).strip()

    def command(self, *arguments: object) -> list[str]:
        return [program("buildah", "buildah"), *map(str, [*self._storage, *arguments])]

    def inside(self, *arguments: object) -> list[str]:
        """The command that runs ``arguments`` in the container, as its user and with its environment."""
        return self.command("run", "--isolation", "chroot", "--network", "host", self.container, "--", *arguments)


def _run(command: list[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
