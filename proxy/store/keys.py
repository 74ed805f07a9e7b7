"""Every Redis key of this program, listed once.

All keys of one request share a hash tag, `{namespace:partition}`, hence one slot: each Lua script
changes record and indices together, on a single server, with Sentinel and on a cluster. The scripts
build the same names from the tag, which is their only KEYS entry.

    {ns:p}:r:ID        record, a hash; compact while each of its values fits into 64 bytes
    {ns:p}:p:ID        payload: the hook call's body as it came; encrypted if there is a key ring
    {ns:p}:x:ID        texts: reason, ticket URL, comment, callback body; encrypted as well
    {ns:p}:h:ID        history after the admission, a list of JSON objects
    {ns:p}:audit       audit entries about requests that are not sealed yet, a stream: id -> JSON
    {ns:p}:due         due times of records, a sorted set
    {ns:p}:s:STATE     ids in that state by admission time, a sorted set
    {ns:p}:u:URL       digest of the normalised respondToUrl -> newest id
    {ns:p}:t:SYS:REF   ticket id or key -> id
    {ns:p}:open        open requests per instance and ticket system, a hash of counts
    {ns:p}:c:WORKER    a worker's last claim, so that a repeated claim answers the same (expires)
    ns:meta            number of partitions, version of this layout, fingerprint of the index key;
                       of an imported store, the key that chooses partitions, earlier namespaces
    ns:routes          frozen routes by hash
    ns:methods         learned callback methods by instance
    ns:pauses          paused destinations
    ns:alarms          the last alarms by kind and destination, a hash; encrypted as well
    ns:changes         polling turns and watermarks of ticket systems that list their changes
    ns:seen:SYS:KEY    events seen before (expires with their time window)
    ns:taking:{SYS:ID} the request that is being given that ticket (expires)
    ns:token:{KEY}     an access token, encrypted (expires with it)
    ns:turn:{KEY}      the process that renews that access token now (expires)
    {ns:logins}:refresh:KEY   a refresh token, encrypted, and a mark if it was sent, a hash
    {ns:logins}:using:KEY     the process that uses that refresh token now (expires)
    ns:audit           the sealing lease, and how far the audit is sealed
    {ns:X}:audit       audit entries about X = pauses, credentials, logins, refused, exports; the
                       refresh tokens, which are few, are in the slot of logins
    ns:credentials     digests of the credentials in the settings, encrypted
    ns:refused         name of the last audit entry about refused calls
    ns:exports         name of the last audit entry about an export or import
    ns:signing         our own signing key, encrypted, and every public key since, a hash
    ns:wake            channel: a request became due before all others
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

ID_PREFIX = "ar"
LOGINS = "logins"
_BITS = 8  # hexadecimal digits that carry the 32 bits of the partition


def unguessable() -> Iterator[str]:
    """Yield 80 random bits at a time, as 20 hexadecimal digits.

    They come from the operating system in blocks: a call for each id took 3 % of accepting.
    """
    while True:
        block = secrets.token_hex(2_560)
        yield from (block[at : at + 20] for at in range(0, len(block), 20))


def new_id(digest: str, bits: str) -> str:
    """Return a new correlation id; it carries the 32 bits that choose its partition.

    `bits` are unguessable, so ids cannot be derived from one another. Letters and digits only:
    the id is written into search fields of ticket systems, whose query languages give meaning to
    most other characters.
    """
    return f"{ID_PREFIX}{digest[:_BITS]}{bits}"


def is_id(text: str) -> bool:
    """Return True if a text has the form of a correlation id."""
    digits = text.removeprefix(ID_PREFIX)
    return len(digits) == _BITS + 20 and digits != text and set(digits) <= set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Keys:
    """Names under one namespace, over a fixed number of partitions."""

    namespace: str
    partitions: int

    def tag(self, partition: int) -> str:
        """Return the hash tag that begins every key of a partition."""
        return f"{{{self.namespace}:{partition}}}"

    def tags(self) -> list[str]:
        """Return the tags of all partitions."""
        return [self.tag(partition) for partition in range(self.partitions)]

    def tag_of(self, id_or_digest: str) -> str:
        """Return the tag of a correlation id or of a URL digest."""
        bits = id_or_digest.removeprefix(ID_PREFIX)[:_BITS]
        return self.tag(int(bits, 16) % self.partitions)

    def random_prefix_for(self, digest: str) -> str:
        """Return a random id prefix that leads to the same partition as this digest."""
        partition = int(digest[:_BITS], 16) % self.partitions
        cycles = secrets.randbelow(16**_BITS // self.partitions)
        return f"{cycles * self.partitions + partition:0{_BITS}x}"

    def shared(self, name: str) -> str:
        """Return the name of a key that belongs to no partition."""
        return f"{self.namespace}:{name}"

    def audit_stream(self, name: str) -> str:
        """Return the audit stream of a kind of facts that belong to no partition."""
        return f"{{{self.shared(name)}}}:audit"

    def streams(self) -> dict[str, str]:
        """Return every stream of audit entries by a short name."""
        own = {str(number): f"{tag}:audit" for number, tag in enumerate(self.tags())}
        others = ("pauses", "credentials", LOGINS, "refused", "exports")
        return own | {name: self.audit_stream(name) for name in others}

    def seen(self, system: str, replay_key: str) -> str:
        """Return the key that marks an event of a ticket system as seen."""
        return f"{self.namespace}:seen:{system}:{replay_key}"

    def taking(self, system: str, ticket_id: str) -> str:
        """Return the key that reserves a ticket for one request."""
        return f"{self.namespace}:taking:{{{system}:{ticket_id}}}"

    def token(self, key: str) -> str:
        """Return the key of a shared access token."""
        return f"{self.namespace}:token:{{{key}}}"

    def turn(self, key: str) -> str:
        """Return the key that is held while an access token is renewed."""
        return f"{self.namespace}:turn:{{{key}}}"

    def refresh(self, key: str) -> str:
        """Return the key of a refresh token; in one slot with `using` and its audit stream."""
        return f"{{{self.shared(LOGINS)}}}:refresh:{key}"

    def using(self, key: str) -> str:
        """Return the key that is held while a refresh token is used."""
        return f"{{{self.shared(LOGINS)}}}:using:{key}"
