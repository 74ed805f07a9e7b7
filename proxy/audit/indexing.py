"""The digests by which a request is found and a repeat is told: from what it is about itself."""

import hashlib

from proxy.domain.models import Record
from proxy.domain.replace import replace
from proxy.store.at_rest import Privacy
from proxy.witboost.hook_call import content_of, respond_to


def reindexed(privacy: Privacy, record: Record, payload: bytes) -> Record:
    """Return a record with its digests under the index key in force, as its admission would."""
    content = hashlib.sha256(payload).hexdigest() if record.trial else content_of(payload)
    return replace(
        record,
        url_digest=privacy.digest(respond_to(payload)),
        content_digest=privacy.digest(content),
    )
