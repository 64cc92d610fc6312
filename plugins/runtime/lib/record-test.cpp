#include "record.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>

#include "orch/testing/test-host.h"

namespace orch::runtime {
namespace {

std::string contentOf(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Every byte in turn, changed in each of a few ways, and every shorter file.
template <typename F>
void forEachDamage(const std::string& path, F&& check) {
  auto whole = contentOf(path);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (char change : {'\x01', '\x10', '\x20', '\x80'}) {
      auto damaged = whole;
      damaged[i] ^= change;
      std::ofstream(path, std::ios::binary) << damaged;
      INFO("byte " << i << " of " << whole.size());
      check();
    }
    std::ofstream(path, std::ios::binary) << whole.substr(0, i);
    INFO("cut off at " << i);
    check();
  }
  std::ofstream(path, std::ios::binary) << whole << "\n";
  check();
}

TEST_CASE("record: a state that is damaged anywhere is refused by name", "[runtime]") {
  testing::TestFolder folder("state-damage");
  std::string path = folder.sub("state").cStr();
  CHECK(readState(path).value == nullptr);
  CHECK(readState(path).damage == nullptr);
  StateFile state;
  state.bootId = "c7542c37-51d9-4168-832d-d556ba6fc7dc";
  state.init = {31, 118'633};
  state.conmon = {30, 118'630};
  state.startedAtNs = 1795725047866840108;
  state.lost = Lost::CONMON;
  writeState(path, state);
  auto read = readState(path);
  auto& same = KJ_ASSERT_NONNULL(read.value);
  CHECK(same.bootId == state.bootId);
  CHECK(same.init.pid == 31);
  CHECK(same.conmon.startTicks == 118'630);
  CHECK(same.startedAtNs == state.startedAtNs);
  CHECK(same.lost == Lost::CONMON);
  forEachDamage(path, [&] {
    auto damaged = readState(path);
    CHECK(damaged.value == nullptr);
    CHECK(KJ_ASSERT_NONNULL(damaged.damage) ==
          kj::str("'", path.c_str(), "' is damaged: its checksum is wrong"));
  });
}

TEST_CASE("record: a record that is damaged anywhere is refused by name", "[runtime]") {
  testing::TestFolder folder("record-damage");
  std::string path = folder.sub("record").cStr();
  CHECK(readRecord(path).value == nullptr);
  CHECK(readRecord(path).damage == nullptr);
  capnp::MallocMessageBuilder message;
  auto request = message.initRoot<schema::ContainerRequest>();
  request.setId("c1");
  request.setTaskName("web.1.c1");
  writeRecord(path, makeRecord(request.asReader(), 15, 1));
  CHECK(readRecord(path).value != nullptr);
  forEachDamage(path, [&] {
    auto damaged = readRecord(path);
    CHECK(damaged.value == nullptr);
    CHECK(KJ_ASSERT_NONNULL(damaged.damage) ==
          kj::str("'", path.c_str(), "' is damaged: its checksum is wrong"));
  });
}

TEST_CASE("record: a file that cannot be read is not one that is missing", "[runtime]") {
  testing::TestFolder folder("record-unreadable");
  // A folder in its place gives EISDIR, as a bad disk gives EIO.
  std::string path = folder.sub("").cStr();
  CHECK(readState(path).value == nullptr);
  CHECK_THAT(KJ_ASSERT_NONNULL(readState(path).damage).cStr(),
             Catch::StartsWith("cannot read '" + path + "'"));
}

}  // namespace
}  // namespace orch::runtime
