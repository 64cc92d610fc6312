"""C++ as far as the rules need it: text without comments and literals, brackets, functions, lambdas."""
import re

_HIDDEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def code(text):
    """`text` with comments and the insides of literals blanked: every offset stays what it was."""
    def blank(match):
        found = match.group(0)
        if found[0] == "'" and match.start() > 0 and text[match.start() - 1].isalnum() and found[1:2].isalnum():
            return found  # 1'000'000
        keep = 1 if found[0] in "\"'" else 0
        return found[:keep] + re.sub(r"[^\n]", " ", found[keep:len(found) - keep]) + found[len(found) - keep:]
    return _HIDDEN.sub(blank, re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text))


def line(text, offset):
    return text.count("\n", 0, offset) + 1


def closing(text, start):
    """The offset after the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i + 1
    return len(text)


def statementEnd(text, start):
    """The `;`, or closing bracket, that ends the expression at `start`."""
    i = start
    while i < len(text) and text[i] not in ";)]}":
        i = closing(text, i) if text[i] in "([{" else i + 1
    return i


def lambdas(text):
    """(start, captures, body start, body end) of each, outer ones first."""
    found = []
    for match in re.finditer(r"\[([^\[\]]*)\]", text):
        before = text[:match.start()].rstrip()[-1:]
        word = re.search(r"\w+$", text[:match.start()].rstrip()[-20:])
        if before and (before in ")]\"" or before.isalnum() or before == "_") and not (word and word.group(0) in ("return", "co_return", "co_await")):
            continue  # an index
        i = match.end()
        if text[i:i + 1] == "]":
            continue  # an attribute
        rest = re.match(r"\s*", text[i:])
        i += rest.end()
        if text[i:i + 1] == "(":
            i = closing(text, i)
        head = re.match(r"[^;{}()]*(?:\([^()]*\)[^;{}()]*)*\{", text[i:])
        if head:
            body = i + head.end() - 1
            found.append((match.start(), match.group(1).strip(), body, closing(text, body)))
    return found


def withoutLambdas(text):
    """`text` with every lambda's inside blanked."""
    for _, _, start, end in lambdas(text):
        text = text[:start + 1] + re.sub(r"[^\n]", " ", text[start + 1:end - 1]) + text[end - 1:]
    return text


def functions(text):
    """(head, start, end) of each function body that is not inside another one."""
    found, containers, i, head = [], 0, 0, 0
    while i < len(text):
        character = text[i]
        if character == "#" and not text[text.rfind("\n", 0, i) + 1:i].strip():
            while True:  # a directive, with its continued lines
                end = text.find("\n", i)
                if end < 0 or text[end - 1] != "\\":
                    break
                i = end + 1
            i = end if end >= 0 else len(text)
            head = i
        elif character == "{":
            before = text[head:i]
            if re.search(r"\b(namespace|class|struct|union|extern)\b[^()=]*$", before) and not re.search(r"\)\s*(const\b.*)?$", before):
                containers += 1
                i += 1
                head = i
            else:
                end = closing(text, i)
                if "(" in before or before.strip() in ("", ",") or before.lstrip().startswith(","):
                    found.append((before.strip(), head + len(before) - len(before.lstrip()), end))
                i = head = end
        elif character in ";}":
            i += 1
            head = i
        else:
            i += 1
    return found
