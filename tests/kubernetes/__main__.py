"""Write the plain manifests again: `python -m tests.kubernetes`."""

from tests.kubernetes.base import expected

for path, text in expected().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
