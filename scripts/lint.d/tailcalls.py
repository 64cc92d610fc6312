"""CallContext::tailCall of Cap'n Proto 0.9 reads what is freed, behind a membrane (sdk/include/orch/hand-on.h)."""
import re

import cpp
from rules import Finding

_MEND = "sdk/src/hand-on.cpp"


def check(tree):
    """In what ships: a test holds what it asks for."""
    for path in tree.cpp():
        if path.startswith("tests/") or path.endswith("-test.cpp"):
            continue
        text = cpp.code(tree.text(path))
        for match in re.finditer(r"[.>]\s*tailCall\s*\(", text):
            if path != _MEND:
                yield Finding(path, cpp.line(text, match.start()), "tailCall may read what is freed: answerBy or handOn of orch/hand-on.h")
