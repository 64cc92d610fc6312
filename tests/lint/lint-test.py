#!/usr/bin/env python3
"""Each rule of scripts/lint refuses a bad sample, at the right line, and accepts a good one."""
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lint.d"))
sys.dont_write_bytecode = True
import coroutines  # noqa: E402
import includes  # noqa: E402
import layout  # noqa: E402
import packages  # noqa: E402
import programs  # noqa: E402
import rules  # noqa: E402
import statics  # noqa: E402
import tailcalls  # noqa: E402
import tests  # noqa: E402


class Lint(unittest.TestCase):
    def found(self, check, files):
        return [(f.path, f.line, f.text) for f in check(rules.Tree(ROOT, files))]

    def refused(self, check, path, text, line, saying, **others):
        found = self.found(check, {path: text, **others})
        self.assertTrue(any(p == path and n == line and saying in t for p, n, t in found), (path, text, found))

    def accepted(self, check, path, text, **others):
        self.assertEqual(self.found(check, {path: text, **others}), [], text)


class Coroutines(Lint):
    def bad(self, body, saying):
        self.refused(coroutines.check, "kernel/x.cpp", f"Task<void> f() {{\n  {body}\n}}\n", 2, saying)

    def good(self, body):
        self.accepted(coroutines.check, "kernel/x.cpp", f"Task<void> f() {{\n  {body}\n}}\n")

    def test_co_await_in_a_condition_or_macro_is_refused(self):
        self.bad("if (co_await ready()) return;", "inside if")
        self.bad("while (co_await more()) {}", "inside while")
        self.bad("if (auto x = 1; co_await ready()) {}", "inside if")
        self.bad("for (auto x : co_await all()) {}", "inside for")
        self.bad("KJ_ASSERT(co_await ready());", "inside KJ_ASSERT")
        self.good("if (auto x = co_await ready(); x) {}")
        self.good("// if (co_await ready())")
        self.good('log("if (co_await ready())");')

    def test_co_await_in_a_conditional_expression_is_refused(self):
        self.bad("auto x = b ? co_await one() : 2;", "?:")
        self.bad("auto x = co_await one(b ? 1 : 2);", "?:")
        self.good("auto x = co_await run([] { return b ? 1 : 2; });")

    def test_brace_temporaries_beside_co_await_are_refused(self):
        self.bad("co_await call(Request{1});", "brace-initialised")
        self.bad("co_await call({1, 2});", "brace-initialised")
        self.good("Request request{1}; co_await call(request);")
        self.good("co_await run([] { return Request{1}; });")

    def test_values_that_may_be_absent_beside_co_await_are_refused(self):
        self.bad("auto x = co_await KJ_ASSERT_NONNULL(maybe).request().send();", "may be absent")
        self.bad("co_await KJ_REQUIRE_NONNULL(maybe)();", "may be absent")
        self.good("auto& some = KJ_REQUIRE_NONNULL(maybe); co_await some();")

    def test_closures_with_copies_beside_co_await_are_refused(self):
        self.bad("auto x = co_await run([path = path] { return 1; });", "captures by value")
        self.bad("co_await run([=]() mutable { use(path); });", "captures by value")
        self.good("auto work = [path = path] { return 1; }; auto x = co_await run(kj::mv(work));")
        self.good("co_await run([this, &path] { use(path); });")
        self.good("uint64_t id = 1; co_await run([id] { use(id); });")
        self.bad("kj::String id; co_await run([id] { use(id); });", "captures by value")

    def test_co_await_as_an_argument_is_refused(self):
        self.bad("use(co_await one());", "as an argument")
        self.bad("auto x = (co_await one()).value;", "as an argument")
        self.good("if (b) co_await one();")
        self.good("if (b) { co_return co_await one(); }")

    def test_a_capturing_coroutine_lambda_is_refused(self):
        self.bad("auto g = [this]() -> Task<void> { co_await one(); };", "captures")
        self.bad("auto g = [&](int n) { co_return n; };", "captures")
        self.good("auto g = [](int n) -> Task<int> { co_return n; };")
        self.good("auto g = [&] { auto h = [](int n) -> Task<int> { co_return n; }; return h(1); };")
        self.good("auto x = values[i]; co_await one();")


class Includes(Lint):
    def test_each_area_has_its_libraries(self):
        for path, header in [("sdk/src/a.cpp", "<uv.h>"), ("kernel/cli/a.cpp", "<spdlog/spdlog.h>"), ("kernel/a.cpp", "<CLI/CLI.hpp>"),
                             ("kernel/a.cpp", "<sqlite3.h>"), ("kernel/a.cpp", "<catch2/catch.hpp>")]:
            self.refused(includes.check, path, f"\n#include {header}\n", 2, "may include")
        for path, header in [("sdk/src/a.cpp", "<kj/async.h>"), ("kernel/cli/a.cpp", "<CLI/CLI.hpp>"), ("kernel/a.cpp", "<uv.h>"),
                             ("kernel/a.cpp", "<sys/eventfd.h>"), ("kernel/a-test.cpp", "<catch2/catch.hpp>"),
                             ("plugins/store/local/a.cpp", "<sqlite3.h>")]:
            self.accepted(includes.check, path, f"#include {header}\n")

    def test_a_plugin_includes_neither_kernel_nor_another_plugin(self):
        here = "plugins/store/local/a.cpp"
        self.refused(includes.check, here, '#include "kernel/kernel.h"\n', 1, "never includes the kernel")
        self.refused(includes.check, here, '#include "../etcd/client.h"\n', 1, "its own files",
                     **{"plugins/store/etcd/client.h": ""})
        self.refused(includes.check, here, '#include "plugins/store/etcd/client.h"\n', 1, "its own files",
                     **{"plugins/store/etcd/client.h": ""})
        self.accepted(includes.check, here, '#include "a.h"\n#include "rows.h"\n#include "http/endpoint.h"\n#include "orch/plugin.h"\n',
                      **{"plugins/store/local/a.h": "", "plugins/store/lib/rows.h": "", "plugins/lib/http/endpoint.h": ""})

    def test_the_orch_program_includes_nothing_of_the_kernel(self):
        self.refused(includes.check, "kernel/cli/a.cpp", '#include "kernel/bus/bus.h"\n', 1, "nothing of the kernel")
        self.refused(includes.check, "kernel/a.cpp", '#include "plugins/store/local/a.h"\n', 1, "no plugin")
        self.refused(includes.check, "kernel/a.cpp", '#include "orch/testing/test-host.h"\n', 1, "only tests")


class Layout(Lint):
    def test_long_files_are_refused(self):
        self.refused(layout.check, "kernel/a.cpp", "\n" * 501, 501, "501 lines")
        self.refused(layout.check, "plugins/store/local/plugin.cpp", "\n" * 151, 151, "descriptor and adapter")
        self.accepted(layout.check, "kernel/a.cpp", "\n" * 500)

    def test_long_functions_need_a_reason(self):
        body = "namespace a {\nclass B {\n  int f(int x) const {\n" + "    g({1, 2});\n" * 70 + "  }\n};\n}\n"
        self.refused(layout.check, "kernel/a.cpp", body, 3, "72 lines")
        self.refused(layout.check, "kernel/a.cpp", "A::A() : b{1} {\n" + "  g();\n" * 70 + "}\n", 1, "lines")
        self.accepted(layout.check, "kernel/a.cpp", "\n// Past 70 lines: one case per message.\n" + body.split("class B {\n")[1].split("};")[0])
        self.accepted(layout.check, "kernel/a.cpp", "void f() {\n" + "  g();\n" * 68 + "}\n" + "void h() {\n" + "  g();\n" * 68 + "}\n")

    def test_names_that_say_nothing_are_refused(self):
        for path in ("kernel/utils/a.cpp", "sdk/src/helpers.cpp", "tests/common/a.py"):
            self.refused(layout.check, path, "", 1, "says nothing")
        self.refused(layout.check, "kernel/eventLog.cpp", "", 1, "kebab-case")

    def test_a_plugin_without_a_manual_is_refused(self):
        here = "plugins/store/local/CMakeLists.txt"
        self.refused(layout.check, here, "", 1, "README.md")
        self.accepted(layout.check, here, "", **{"plugins/store/local/README.md": ""})

    def test_what_exists_on_one_machine_only_is_refused(self):
        self.refused(layout.check, "README.md", "\nsee /" + "root/notes\n", 2, "path of one machine")
        self.refused(layout.check, "scripts/x", "#!/bin/sh\ncurl deb." + "debian.org\n", 2, "package registry")


class Others(Lint):
    def test_test_names_that_are_no_sentences_are_refused(self):
        self.refused(tests.check, "a-test.cpp", '\nTEST_CASE("placement", "[scheduler]") {}\n', 2, "no sentence")
        self.refused(tests.check, "a-test.cpp", 'TEST_CASE("spread: takes the emptiest") {}\n', 1, "no tag")
        self.refused(tests.check, "a-test.py", "class A:\n    def test_it(self):\n", 2, "no sentence")
        self.accepted(tests.check, "a-test.cpp", 'TEST_CASE("spread: takes the "\n          "emptiest node",\n  "[x]") {}\n')

    def test_the_package_table_has_to_match(self):
        setup = "cat <<'TABLE'\nninja-build   runs the build\njq  reads json\nTABLE\n"
        good = "| `ninja-build` | runs the build |\n| `jq` | reads json |\n"
        self.accepted(packages.check, "README.md", good, **{"scripts/setup": setup})
        self.refused(packages.check, "README.md", good.replace("runs the", "is the"), 1, "runs the build", **{"scripts/setup": setup})
        self.refused(packages.check, "README.md", good[:33], 1, "jq", **{"scripts/setup": setup})
        self.refused(packages.check, "README.md", good + "| `make` | old |\n", 3, "not installed", **{"scripts/setup": setup})

    def test_a_tail_call_beside_the_one_that_is_safe_is_refused(self):
        call = "return context.tailCall(kj::mv(request));\n"
        self.refused(tailcalls.check, "kernel/x.cpp", call, 1, "answerBy")
        self.accepted(tailcalls.check, "sdk/src/hand-on.cpp", call)
        self.accepted(tailcalls.check, "kernel/x.cpp", "// context.tailCall(request)\n")

    def test_mutable_statics_in_a_plugin_are_refused(self):
        table = ("0000000000005010 l     O .bss\t0000000000000008              orch::store::local::(anonymous namespace)::counter\n"
                 "0000000000005020 l     O .bss\t0000000000000038              orch::store::local::names\n"
                 "0000000000005030 l     O .data\t0000000000000008              .hidden capnp::schemas::bd_c0c6\n"
                 "0000000000005040 g     O .rodata\t0000000000000008             orch::store::local::limit\n")
        files = {"plugins/store/local/a.cpp": "int counter = 0;\nconst std::map<int, int> names{};\n"}
        found = list(statics.inSymbols(rules.Tree(ROOT, files), "plugins/store/local", table))
        self.assertEqual([(f.path, f.line) for f in found], [("plugins/store/local/a.cpp", 1)])

    def test_what_other_programs_refuse_is_passed_on(self):
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            tree = rules.Tree(folder, {"a.cpp": "int  a;\n", "b": "#!/usr/bin/env bash\nrm $1\n"})
            for path in tree.paths:
                with open(f"{folder}/{path}", "w") as file:
                    file.write(tree.text(path))
            with open(f"{folder}/.clang-format", "w") as file:
                file.write("BasedOnStyle: Google\n")
            self.assertEqual([(f.path, f.line) for f in programs.formatting(tree)], [("a.cpp", 1)])
            self.assertEqual([(f.path, f.line) for f in programs.shell(tree)], [("b", 2)])


if __name__ == "__main__":
    unittest.main()
