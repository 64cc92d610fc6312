"""Where co_await may stand. g++ 12 miscompiles it in conditions, in ?:, behind KJ_…_NONNULL and beside
temporaries of classes without a constructor, brace-initialised ones and closures (the temporary is
destroyed twice, or the wrong branch runs). And a capturing lambda dies before the coroutine that it started."""
import re

import cpp
from rules import Finding

_CONDITION = re.compile(r"\b(if|while|switch|for|[A-Z][A-Z0-9_]{2,})\s*(?:constexpr\s*)?\(")


def check(tree):
    for path in tree.cpp():
        text = cpp.code(tree.text(path))
        if "co_" in text:
            for offset, why in sorted(set(_check(text))):
                yield Finding(path, cpp.line(text, offset), why)


def _check(text):
    yield from _conditions(text)
    yield from _expressions(text)
    yield from _capturing(text)


def _conditions(text):
    for match in _CONDITION.finditer(text):
        inside = cpp.withoutLambdas(text[match.end() - 1:cpp.closing(text, match.end() - 1)])
        if match.group(1) in ("if", "switch") and ";" in inside:
            inside = inside.split(";", 1)[1]  # if (initialiser; condition)
        if "co_await" in inside:
            yield match.start(), f"co_await inside {match.group(1)}(…): await it into a variable first"


def _expressions(text):
    for match in re.finditer(r"\bco_await\b", text):
        start = max(text.rfind(c, 0, match.start()) for c in ";{}") + 1
        before = text[start:match.start()]
        awaited = text[match.end():cpp.statementEnd(text, match.end())]
        after = cpp.withoutLambdas(awaited)
        if any(_copies(captures, text[:match.start()]) for _, captures, _, _ in cpp.lambdas(awaited)):
            yield match.start(), "a lambda that captures by value in a co_await expression: give it a name, then kj::mv(it)"
        if "?" in before or "?" in after:
            yield match.start(), "co_await in a ?: expression: write an if"
        elif re.search(r"[(,]\s*\{|\b[A-Z]\w*\s*\{", after):
            yield match.start(), "brace-initialised temporary in a co_await expression: give it a name first"
        elif re.search(r"\bKJ_\w+_NONNULL\b", after):
            yield match.start(), "a value that may be absent in a co_await expression: KJ_IF_MAYBE first"
        elif before.count("(") > before.count(")") or before.count("[") > before.count("]"):
            if not _CONDITION.search(before):
                yield match.start(), "co_await as an argument: await it into a variable first"


def _copies(captures, before):
    """References, `this` and numbers have no destructor that could run twice."""
    def harmless(one):
        if re.match(r"&|this$", one):
            return True
        declared = re.findall(rf"([\w:]+)&? {one}\b", before) if one.isidentifier() else []
        return bool(declared) and re.fullmatch(r"(std::|::)?(u?int\d*(_t)?|unsigned|bool|size_t|pid_t|double)", declared[-1])
    return any(not harmless(one.strip()) for one in captures.split(",")) if captures else False


def _capturing(text):
    found = cpp.lambdas(text)
    for start, captures, body, end in found:
        inside = text[body:end]
        for _, _, first, last in found:
            if body < first and last <= end:
                inside = inside.replace(text[first:last], " ")
        if captures and re.search(r"\bco_(await|return|yield)\b", inside):
            yield start, "a lambda that captures is a coroutine: it may be gone before the coroutine ends; make it a function"
