#include "log-file.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "orch/testing/test-host.h"

namespace orch::runtime {
namespace {

std::string entry(int second, const char* text, char tag = 'F') {
  char line[256];
  snprintf(line, sizeof(line), "2026-01-01T00:00:%02d.000000000+00:00 stdout %c %s\n", second, tag,
           text);
  return line;
}

std::vector<std::string> texts(const testing::TestFolder& folder, int64_t tail = -1,
                               int64_t sinceNs = 0) {
  LogCursor cursor(folder.path().cStr(), tail, sinceNs);
  std::vector<std::string> result;
  for (bool atEnd = false; !atEnd;) {
    for (auto& line : cursor.read(atEnd)) result.push_back(line.text);
  }
  return result;
}

using Texts = std::vector<std::string>;

TEST_CASE("log: a line's time, stream and tag", "[runtime]") {
  auto line =
      KJ_ASSERT_NONNULL(parseLogLine("2026-01-01T01:00:01.000000005+01:00 stderr P half a line"));
  CHECK(line.timeNs == 1767225601'000000005);
  CHECK(line.isError);
  CHECK(line.partial);
  CHECK(line.text == "half a line");
  CHECK(parseLogLine("2026-01-01T01:00:01.000000005+01:00 stdout F ") != nullptr);
  for (auto damaged : {"", "x", "2026-01-01T01:00:01.0000x0005+01:00 stdout F a",
                       "2026-01-01T01:00:01.000000005+01:00 stdwho F a"}) {
    CHECK(parseLogLine(damaged) == nullptr);
  }
}

TEST_CASE("log: all files are read, oldest first", "[runtime]") {
  testing::TestFolder folder("log");
  std::ofstream(folder.sub("log.9").cStr()) << entry(1, "a") << entry(2, "b");
  std::ofstream(folder.sub("log.10").cStr()) << entry(3, "c");
  std::ofstream(folder.sub("log").cStr()) << entry(4, "d") << "2026-01-01T00:00:05.0000000";
  CHECK(texts(folder) == Texts{"a", "b", "c", "d"});
  CHECK(texts(folder, -1, 1767225603'000000000) == Texts{"c", "d"});
}

TEST_CASE("log: the last lines, across files", "[runtime]") {
  testing::TestFolder folder("log");
  std::ofstream(folder.sub("log.1").cStr()) << entry(1, "a") << entry(2, "b");
  std::ofstream(folder.sub("log").cStr()) << entry(3, "c1", 'P') << entry(3, "c2") << entry(4, "d");
  CHECK(texts(folder, 0) == Texts{});
  CHECK(texts(folder, 1) == Texts{"d"});
  CHECK(texts(folder, 2) == Texts{"c1", "c2", "d"});
  CHECK(texts(folder, 3) == Texts{"b", "c1", "c2", "d"});
  CHECK(texts(folder, 99) == Texts{"a", "b", "c1", "c2", "d"});
}

TEST_CASE("log: a tail that is longer than one block", "[runtime]") {
  testing::TestFolder folder("log");
  {
    std::ofstream file(folder.sub("log").cStr());
    for (unsigned i = 0; i < 10'000; ++i) file << entry(1, std::to_string(i).c_str());
  }
  auto last = texts(folder, 5000);
  REQUIRE(last.size() == 5000);
  CHECK(last.front() == "5000");
  CHECK(last.back() == "9999");
}

TEST_CASE("log: reading goes on across rotations", "[runtime]") {
  testing::TestFolder folder("log");
  auto current = folder.sub("log");
  std::ofstream first(current.cStr());
  first << entry(1, "a") << std::flush;
  LogCursor cursor(folder.path().cStr(), -1, 0);
  bool atEnd = false;
  CHECK(cursor.read(atEnd).at(0).text == "a");

  // Renamed, and conmon still writes to it.
  CHECK(rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 5));
  first << entry(2, "b") << std::flush;
  CHECK(cursor.read(atEnd).at(0).text == "b");
  CHECK(cursor.read(atEnd).empty());
  CHECK(atEnd);
  // A second request would lose what conmon has not yet moved on from.
  CHECK_FALSE(rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 5));

  first << entry(3, "c") << std::flush;
  std::ofstream(current.cStr()) << entry(4, "d");
  CHECK(rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 5));
  std::ofstream(current.cStr()) << entry(5, "e");
  Texts seen;
  do {
    for (auto& line : cursor.read(atEnd)) seen.push_back(line.text);
  } while (!atEnd);
  CHECK(seen == Texts{"c", "d", "e"});
}

TEST_CASE("log: old files go", "[runtime]") {
  testing::TestFolder folder("log");
  for (unsigned i = 0; i < 5; ++i) {
    std::ofstream(folder.sub("log").cStr()) << entry(i, std::to_string(i).c_str());
    rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 2);
  }
  CHECK(texts(folder) == Texts{"3", "4"});
}

}  // namespace
}  // namespace orch::runtime
