"""Whether the zip archive that torch.save writes is whole, to the last bit that torch reads.

torch compares no checksum, and it takes the list at the end of the archive at its word: a record
that the list calls a directory is left as the memory happens to be. So every record must look as
torch.save writes it, stored and under a name of its own, and its size and checksum must agree. That
takes one pass over the file and no memory.
"""

from __future__ import annotations

from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import crc32

ZIP_START = b'PK\x03\x04'
DIRECTORY = 0x10  # in a record's attributes
PLAIN_FLAGS = 0x0808  # a name in UTF-8, sizes after the content
CHUNK = 1 << 20


def damaged_record(path: str) -> str | None:
    """What is wrong with the archive, in a few words; None if it is whole."""
    try:
        with ZipFile(path) as archive:
            names: set[str] = set()
            for record in archive.infolist():
                name = record.filename.lower()  # torch finds a record in either case
                if name in names or not _is_whole(archive, record):
                    return f'its record {record.filename} is damaged'
                names.add(name)
    except OSError as error:
        return f'it cannot be read ({error.strerror})'
    except Exception:  # zipfile documents no list of what it raises for damaged bytes
        return 'it is truncated or damaged'
    return None


def _is_whole(archive: ZipFile, record: ZipInfo) -> bool:
    if record.external_attr & DIRECTORY or record.flag_bits & ~PLAIN_FLAGS:
        return False
    if record.compress_type != ZIP_STORED or record.compress_size != record.file_size:
        return False
    size = checksum = 0
    try:
        with archive.open(record) as content:
            while chunk := content.read(CHUNK):
                size, checksum = size + len(chunk), crc32(chunk, checksum)
    except BadZipFile:
        return False
    return size == record.file_size and checksum == record.CRC
