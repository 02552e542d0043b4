"""Installs the project that this file lies in, for notebooks on Colab; their first cell runs it."""

import os
import subprocess
import sys

root = os.path.dirname(os.path.abspath(__file__))
done = subprocess.run(
    [sys.executable, "-m", "pip", "install", "--quiet", f"{root}[lite,photo]"], capture_output=True, text=True
)
if done.returncode:
    sys.exit(f"{root} could not be installed: {done.stderr.strip().splitlines()[-1]}")
os.chdir(os.path.join(root, "notebooks"))
sys.path.insert(0, root)  # so that a change to the package takes effect
print(f"Installed {root}")
