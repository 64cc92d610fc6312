#include "orch/segments/backup-file.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/segments/frames.h"

namespace orch::segments {
namespace {

using Bytes = std::string;

void add(BackupWriter& writer, const std::string& key, const std::string& value) {
  capnp::MallocMessageBuilder message;
  auto object = message.initRoot<schema::BackupEntry>().initObject();
  object.setKind("service");
  object.setKey(key.c_str());
  object.setValue(kj::arrayPtr(value.data(), value.size()).asBytes());
  writer.add(message.getRoot<schema::BackupEntry>().asReader());
}

// Incompressible, and different each time.
std::string noise(size_t bytes) {
  static uint32_t seed = 1;
  std::string text;
  while (text.size() < bytes) {
    seed = seed * 1664525 + 1013904223;
    text += static_cast<char>(seed >> 24);
  }
  return text;
}

Bytes backupOf(const std::vector<std::string>& values) {
  Bytes file;
  BackupWriter writer(
      [&](kj::Array<kj::byte> bytes) { file.append(bytes.asChars().begin(), bytes.size()); });
  capnp::MallocMessageBuilder message;
  message.initRoot<schema::BackupEntry>().initBegins().setName("default");
  writer.add(message.getRoot<schema::BackupEntry>().asReader());
  for (size_t i = 0; i < values.size(); ++i) add(writer, std::to_string(i), values[i]);
  writer.finish();
  return file;
}

struct Read {
  std::string error;
  std::vector<std::string> values;
};
Read read(const Bytes& file, size_t atOnce = 1000) {
  Read result;
  BackupReader reader("file", [&](schema::BackupEntry::Reader entry) {
    if (!entry.isObject()) return;
    auto value = entry.getObject().getValue();
    result.values.emplace_back(value.asChars().begin(), value.size());
  });
  auto done = attemptNow([&] {
    for (size_t at = 0; at < file.size(); at += atOnce) {
      auto size = std::min(atOnce, file.size() - at);
      reader.write(kj::arrayPtr(file.data() + at, size).asBytes());
    }
    reader.finish();
  });
  if (!done.ok()) result.error = done.message().cStr();
  return result;
}

TEST_CASE("backup: what is written is read, in whatever pieces", "[segments]") {
  std::vector<std::string> values{"", "one", noise(300'000), noise(2'000'000), "last"};
  // A value that is a frame itself.
  auto inner = packFrame(kj::StringPtr("inner").asBytes());
  values.push_back(noise(100'000) + std::string(inner.asChars().begin(), inner.size()));
  auto file = backupOf(values);
  for (size_t atOnce : {size_t(7'001), size_t(65'536), file.size()}) {
    auto back = read(file, atOnce);
    CHECK(back.error.empty());
    CHECK(back.values == values);
  }
  CHECK(read(backupOf({})).error.empty());
}

TEST_CASE("backup: one that was cut off is refused, wherever", "[segments]") {
  auto file = backupOf({"one", noise(300'000), "two"});
  for (size_t size = 0; size < file.size(); size += size < 400 ? 1 : 4'999) {
    INFO("cut to " << size);
    CHECK_THAT(read(file.substr(0, size)).error,
               Catch::StartsWith("cannot use the backup 'file': it is not whole"));
  }
  CHECK(read(file.substr(0, file.size() - 1)).error != "");
  CHECK_THAT(read(file + "x").error, Catch::Contains("something stands behind its end"));
}

TEST_CASE("backup: one in which a bit is another is refused", "[segments]") {
  auto file = backupOf({"one", noise(300), "two"});
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    INFO("bit " << bit);
    auto damaged = file;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    CHECK_THAT(read(damaged).error, Catch::StartsWith("cannot use the backup 'file': "));
  }
}

TEST_CASE("backup: one of another format, and what is none, are told apart", "[segments]") {
  auto file = backupOf({"one"});
  file[8] = 2;
  CHECK_THAT(read(file).error, Catch::EndsWith("it is of format 2, and this version of orch reads "
                                               "format 1"));
  CHECK_THAT(read("#!/bin/sh\nexit 1\n").error, Catch::EndsWith("it is no backup of a cluster"));
}

TEST_CASE("backup: frames that are missing or in another order are noticed", "[segments]") {
  auto a = noise(250'000), b = noise(250'000);
  auto file = backupOf({a, b, a + b});
  std::vector<std::pair<size_t, size_t>> frames;
  auto bytes = kj::arrayPtr(file.data(), file.size()).asBytes();
  for (size_t at = 16; at + 8 < file.size();) {
    auto frame = nextFrame(bytes, at);
    REQUIRE(frame);
    frames.emplace_back(frame->begin, frame->end);
    at = frame->end;
  }
  REQUIRE(frames.size() > 3);
  auto without = file;
  without.erase(frames[1].first, frames[1].second - frames[1].first);
  CHECK(read(without).error != "");
  auto twice = file;
  twice.insert(frames[1].second, file.substr(frames[1].first, frames[1].second - frames[1].first));
  CHECK(read(twice).error != "");
}

}  // namespace
}  // namespace orch::segments
