"""Messages of Cap'n Proto's RPC, as far as tests need them to say what no program of orch would."""
import struct

# Ids of sdk/schema/gateway.capnp and trust.capnp, as `capnp compile -ocapnp` prints them.
GATEWAY, VERSION, SERVICE = 0xd99c9f71c53542e4, 0, 1
TRUST, REQUEST, RENEW = 0x9ffae004010c44ff, 1, 7


def pointer(offset, data, pointers):
    """To a structure `offset` words after the pointer."""
    return struct.pack("<iHH", offset << 2, data, pointers)


def _message(kind, body):
    """`body` begins with the pointer to what the message is about."""
    words = pointer(0, 1, 1) + struct.pack("<HHI", kind, 0, 0) + body
    return struct.pack("<II", 0, len(words) // 8) + words


def bootstrap(question=0):
    return _message(8, pointer(0, 1, 1) + struct.pack("<II", question, 0) + bytes(8))


def finish(question):
    """That no answer is wanted any more."""
    return _message(4, pointer(0, 1, 0) + struct.pack("<II", question, 0))


def call(question, interface, method, text=None, service=None):
    """Of what the question 0, `bootstrap`, asks for, or of the first capability that the question `service` does.
    `text`: the only parameter."""
    transform = bytes(8)
    if service is not None:
        transform = struct.pack("<II", 1, 1 << 3 | 7) + struct.pack("<IHH", 1 << 2, 1, 0) + struct.pack("<HHI", 1, 0, 0)
    target = struct.pack("<IHH", 0, 1, 0) + pointer(0, 1, 1) + struct.pack("<II", service or 0, 0) + transform
    if text is None:
        parameters = pointer(-1, 0, 0) + bytes(8)
    else:
        ended = text.encode() + b"\0"
        parameters = pointer(1, 0, 1) + bytes(8) + struct.pack("<iI", 1, len(ended) << 3 | 2) + ended + bytes(-len(ended) % 8)
    pointers = pointer(2, 1, 1) + pointer(1 + len(target) // 8, 0, 2) + bytes(8)
    body = struct.pack("<IHHQQ", question, method, 0, interface, 0) + pointers + target + parameters
    return _message(2, pointer(0, 3, 3) + body)
