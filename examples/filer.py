"""Files a copy of each message in a folder of its recipient: SMTP_HANDLER=filer:Filer.

The folder is FILER_FOLDER, or `filed` below the working directory.
"""

import asyncio
import os
import re
import uuid
from pathlib import Path


class Filer:
    """Write each message once for every recipient, in a thread, so that the loop goes on."""

    def __init__(self):
        self.folder = Path(os.environ.get("FILER_FOLDER", "filed"))

    async def handle_DATA(self, server, session, envelope):
        await asyncio.to_thread(self.file, envelope)
        return "250 2.0.0 Filed"

    def file(self, envelope):
        for address in envelope.rcpt_tos:
            folder = self.folder / (re.sub(r"[^\w.@+-]", "_", address).strip(".") or "_")
            folder.mkdir(parents=True, exist_ok=True)
            whole = folder / f"{uuid.uuid4()}.eml"
            part = whole.with_suffix(".part")
            part.write_bytes(envelope.original_content)
            part.rename(whole)
