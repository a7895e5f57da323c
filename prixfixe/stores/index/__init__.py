"""A search index beside any store: what mail says, made once for each message.

It is no part of what a 250 promises: it may be removed at any time, and is built again.
What a message says comes from whoever makes the index: stores keep bytes and know nothing of it.
"""

from prixfixe.stores.index.catalog import Described
from prixfixe.stores.index.follower import Index, IndexOptions
from prixfixe.stores.index.search import Counts, Found, IndexReader, SearchGivenUpError

__all__ = [
    "Counts",
    "Described",
    "Found",
    "Index",
    "IndexOptions",
    "IndexReader",
    "SearchGivenUpError",
]
