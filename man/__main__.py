"""Writes the manual and the completions where they are kept."""

from pathlib import Path

from man import completions, page

ROOT = Path(__file__).parents[1]

FILES = {
    "man/bwtop.1": page.page,
    "share/completions/bwtop.bash": completions.bash,
    "share/completions/_bwtop": completions.zsh,
    "share/completions/bwtop.fish": completions.fish,
}
"""Every file that is made, and what makes its text."""

if __name__ == "__main__":
    for name, make in FILES.items():
        (ROOT / name).write_text(make())
