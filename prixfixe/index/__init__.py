"""A search index beside any store: what mail says, made once for each message.

It is no part of what a 250 promises: it may be removed at any time, and is built again.
It stands above the stores, which keep bytes and know nothing of what they say.
"""

from prixfixe.index.catalog import Described
from prixfixe.index.follower import Index, IndexOptions
from prixfixe.index.search import Counts, Found, IndexReader, SearchGivenUpError

__all__ = [
    "Counts",
    "Described",
    "Found",
    "Index",
    "IndexOptions",
    "IndexReader",
    "SearchGivenUpError",
]
