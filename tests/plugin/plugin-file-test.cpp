#include <catch2/catch.hpp>
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernel/plugin/elf-reader.h"
#include "kernel/plugin/loader.h"
#include "kernel/rpc/method-table.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/runtime.capnp.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/testing/test-host.h"

namespace orch::plugin {
namespace {

const std::string GOOD = TEST_PLUGINS "/test.misbehaves.so";

std::string contentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string problemOf(const testing::TestFolder& folder, const std::string& content,
                      mode_t mode = 0644) {
  std::string path = folder.sub("bad.so").cStr();
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  chmod(path.c_str(), mode);
  auto outcome = attemptNow([&]() { return readPluginFile(path); });
  if (outcome.ok()) return "";
  std::string text = plainText(outcome.error()).cStr();
  auto prefix = "plugin file '" + path + "' ";
  CHECK(text.rfind(prefix, 0) == 0);
  return text.substr(std::min(prefix.size(), text.size()));
}

TEST_CASE("plugin file: the descriptor and the settings are read without loading", "[plugin]") {
  auto file = readPluginFile(GOOD);
  CHECK(std::string(file.descriptor.kind) == "test");
  CHECK(std::string(file.descriptor.name) == "misbehaves");
  CHECK(std::string(file.descriptor.pluginVersion) == "1.0.0");
  CHECK(file.schema.size() > 0);
}

TEST_CASE("plugin file: it says which methods have no deadline, of every kind", "[plugin]") {
  rpc::MethodTable methods;
  methods.learn(readPluginFile(GOOD).schema);
  auto wait = methods.find(capnp::typeId<schema::Runtime>(), 3);
  CHECK(wait.name == "wait");
  CHECK(wait.longRunning);
  auto open = methods.find(capnp::typeId<schema::Scheduler>(), 0);
  CHECK(open.name == "open");
  CHECK_FALSE(open.longRunning);
  CHECK(methods.find(1, 7).name == "method 7");
}

TEST_CASE("plugin file: what is no plugin is refused with the reason", "[plugin]") {
  testing::TestFolder folder("plugin-file");
  auto good = contentOf(GOOD);
  CHECK(problemOf(folder, good).empty());
  CHECK(problemOf(folder, "").find("is truncated (it is empty); install it again") == 0);
  CHECK(problemOf(folder, std::string(1000, 'x')) == "is not an ELF file");
  CHECK(problemOf(folder, good, 0666)
            .find("may be written by others than its owner; run: chmod go-w ") == 0);
  auto changed = good;
  changed[EI_CLASS] = ELFCLASS32;
  CHECK(problemOf(folder, changed) == "is built for another architecture");
  changed = good;
  changed[offsetof(Elf64_Ehdr, e_type)] = ET_EXEC;
  CHECK(problemOf(folder, changed) == "is not a shared library");
  changed = good;
  changed[changed.find("ORCHPLG1")] = 'X';
  CHECK(problemOf(folder, changed) == "has a section .orch.plugin that is not a plugin descriptor");
  CHECK(problemOf(folder, contentOf(PROGRAMS "/../lib/liborch-sdk.so")) ==
        "is not an orch plugin: it has no section .orch.plugin");
}

TEST_CASE("plugin file: cut anywhere it is refused, never loaded", "[plugin]") {
  testing::TestFolder folder("plugin-cut");
  auto good = contentOf(GOOD);
  for (int percent = 1; percent < 100; percent += 3) {
    CHECK_FALSE(problemOf(folder, good.substr(0, good.size() * percent / 100)).empty());
  }
  CHECK_FALSE(problemOf(folder, good.substr(0, good.size() - 1)).empty());
}

TEST_CASE("plugin file: a flipped byte in the headers or the descriptor never kills the reader",
          "[plugin]") {
  testing::TestFolder folder("plugin-flip");
  auto good = contentOf(GOOD);
  auto descriptor = good.find("ORCHPLG1");
  size_t answered = 0;
  for (size_t at : {size_t(0), descriptor}) {
    for (size_t i = 0; i < sizeof(PluginDescriptor); i += 3) {
      auto changed = good;
      changed[at + i] ^= 0x41;
      ++answered;
      problemOf(folder, changed);  // any answer will do, as long as there is one
    }
  }
  CHECK(answered == 2 * ((sizeof(PluginDescriptor) + 2) / 3));
  CHECK(problemOf(folder, good).empty());  // and the reader is as it was
}

TEST_CASE("plugin file: one that another user may put another in the place of is refused",
          "[plugin]") {
  testing::TestFolder folder("plugin-folders");
  std::filesystem::create_directories(folder.sub("outer/inner").cStr());
  std::string outer = folder.sub("outer").cStr(), path = outer + "/inner/good.so";
  std::ofstream(path, std::ios::binary) << contentOf(GOOD);
  std::filesystem::create_directory_symlink("outer/inner", folder.sub("link").cStr());
  std::string linked = folder.sub("link/good.so").cStr();
  auto problem = [](const std::string& at) {
    auto outcome = attemptNow([&]() { return readPluginFile(at); });
    return std::string(outcome.ok() ? "" : plainText(outcome.error()).cStr());
  };
  CHECK(problem(path) == "");
  CHECK(problem(linked) == "");
  for (mode_t mode : {0775, 0757}) {
    for (auto& lax : {outer, outer + "/inner"}) {
      chmod(lax.c_str(), mode);
      auto said = "' is in or below the folder '" + lax +
                  "', which others than its owner may write to; run: chmod go-w " + lax;
      CHECK(problem(path) == "plugin file '" + path + said);
      CHECK(problem(linked).find("may write to; run: chmod go-w ") != std::string::npos);
      chmod(lax.c_str(), 0755);
    }
  }
  chmod(outer.c_str(), 01777);  // as /tmp
  CHECK(problem(path) == "");
  chmod(outer.c_str(), 0755);
  if (geteuid() != 0) return;
  REQUIRE(chown(outer.c_str(), 1000, 0) == 0);
  CHECK(problem(path).find("' is behind '" + outer + "', which belongs to user 1000") !=
        std::string::npos);
  REQUIRE(chown(outer.c_str(), 0, 0) == 0);
  REQUIRE(lchown(folder.sub("link").cStr(), 1000, 0) == 0);
  CHECK(problem(linked).find("which belongs to user 1000") != std::string::npos);
}

TEST_CASE("plugin file: one that has taken another's place is another one", "[plugin]") {
  testing::TestFolder folder("plugin-replaced");
  std::filesystem::create_directories(folder.path().cStr());
  std::string path = folder.sub("good.so").cStr(), beside = folder.sub("beside.so").cStr();
  auto put = [&]() {
    std::ofstream(beside, std::ios::binary) << contentOf(GOOD);
    std::filesystem::rename(beside, path);
  };
  put();
  auto first = readPluginFile(path);
  auto create = loadPlugin(first);
  CHECK(loadPlugin(first) == create);
  put();
  auto second = readPluginFile(path);
  auto created = loadPlugin(second);
  CHECK(created != create);
  CHECK(loadPlugin(second) == created);
  auto third = readPluginFile(path);
  put();
  third.identity.bytes = 0;  // one that nobody has loaded
  auto late = attemptNow([&]() { return loadPlugin(third); });
  REQUIRE_FALSE(late.ok());
  CHECK(late.error().getType() == kj::Exception::Type::OVERLOADED);
  CHECK(plainText(late.error()) ==
        kj::str("plugin file '", path.c_str(), "' was replaced while it was being opened"));
  CHECK(loadPlugin(readPluginFile(path)) != created);
}

TEST_CASE("plugin file: another ABI is not loaded into the kernel", "[plugin]") {
  auto file = readPluginFile(GOOD);
  file.descriptor.abiId[4] ^= 1;
  auto outcome = attemptNow([&]() { return loadPlugin(file); });
  REQUIRE_FALSE(outcome.ok());
  std::string text = plainText(outcome.error()).cStr();
  CHECK(text.find("was built for another ABI") != std::string::npos);
  CHECK(text.find("isolation = \"process\"") != std::string::npos);
}

}  // namespace
}  // namespace orch::plugin
