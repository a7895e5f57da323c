"""Write the generated parts of the documents: `python -m tests.documents`."""

import sys

from tests.documents.generated import ROOT, expected

for path, present, wanted in expected():
    if present != wanted:
        (ROOT / path).write_text(wanted)
        sys.stdout.write(f"{path} renewed\n")
