"""Code that a user puts where bwtop could take it for its own: root runs none of it, and compiles none of it.

Found: the compiler looked for headers of the kernel in the directory that bwtop was started in, before its own.
"""

import pytest

from tests.attacks.stage import BATCH, Stage

pytestmark = pytest.mark.kernel

COMPILED = (*BATCH, "--no-cache")
"""A run that compiles its programs: one from the cache needs neither the compiler nor bcc."""

DEED = "open('/etc/cron.d/zz', 'w').close()"
"""Python that only root could run to its end."""

HEADERS = """
(cd /usr/share/bwtop/bpf && find . -name '*.h'; cd include && find . -name '*.h') > names
printf '%s\\n' linux/types.h linux/bpf_common.h asm/types.h bcc/proto.h bcc/helpers.h >> names
while read name; do mkdir -p $(dirname $name); echo '#error planted' > $name; done < names
"""

MODULES = f"""
for name in bwtop bcc json sqlite3 urwid argparse usercustomize sitecustomize; do
    echo "{DEED}" > $name.py
done
"""

SITE = f"""
site=$(HOME=/home/ada /usr/bin/python3 -m site --user-site)
mkdir -p $site
echo "{DEED}" > $site/usercustomize.py
echo "import os; {DEED}" > $site/zz.pth
mkdir $site/bcc
echo "{DEED}" > $site/bcc/__init__.py
"""


@pytest.mark.parametrize("script", [HEADERS, MODULES], ids=["headers", "modules"])
@pytest.mark.parametrize("sudo", [True, False], ids=["sudo", "root"])
def test_directory_it_is_started_in_has_no_code_for_it(
    stage: Stage, script: str, sudo: bool
) -> None:
    stage.allow_any_arguments()
    stage.shell("ada", script)
    with stage.unchanged("/home/ada", free=("/root",)):
        as_root = ("root", "env", "--chdir=/home/ada", "bwtop", *COMPILED)
        result = stage.sudo(*COMPILED) if sudo else stage.run(*as_root)
    assert result.returncode == 0, result.stderr


def test_home_that_sudo_keeps_has_no_code_for_root(stage: Stage) -> None:
    """sudo leaves HOME to the user if sudoers says so; Python looks for modules there."""
    stage.allow_any_arguments('Defaults:ada env_keep += "HOME"')
    stage.shell("ada", SITE)
    with stage.unchanged("/home/ada"):
        result = stage.sudo(*COMPILED)
    assert result.returncode == 0, result.stderr
