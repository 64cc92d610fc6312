#include "log-file.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "log-schedule.h"
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

TEST_CASE("log: what a full disk has cut off hides nothing beside it", "[runtime]") {
  testing::TestFolder folder("log-cut");
  auto cut = [](std::string record, size_t bytes) { return record.substr(0, bytes); };
  std::ofstream(folder.sub("log").cStr())
      << entry(1, "a") << cut(entry(2, "never seen"), 20) << entry(3, "b")
      << cut(entry(4, "some text"), 49) << entry(5, "c") << cut(entry(6, "x"), 40)
      << cut(entry(7, "y"), 3) << entry(8, "d");
  CHECK(texts(folder) == Texts{"a", LOG_GAP, "b", "some", LOG_GAP, "c", LOG_GAP, "d"});
  CHECK(texts(folder, 1) == Texts{LOG_GAP, "d"});
  CHECK(texts(folder, 2) == Texts{"some", LOG_GAP, "c", LOG_GAP, "d"});
}

TEST_CASE("log: a record of the other stream behind one that is cut off is in the tail",
          "[runtime]") {
  testing::TestFolder folder("log-cut-stream");
  auto error = entry(3, "oops");
  error.replace(error.find("stdout"), 6, "stderr");
  std::ofstream(folder.sub("log").cStr())
      << entry(1, "a") << entry(2, "some text").substr(0, 49) << error << entry(4, "b");
  CHECK(texts(folder, 2) == Texts{"some", LOG_GAP, "oops", "b"});
}

TEST_CASE("log: the end of a log may be cut off, of a rotated one too", "[runtime]") {
  testing::TestFolder folder("log-cut-end");
  std::ofstream(folder.sub("log.1").cStr()) << entry(1, "a") << entry(2, "b").substr(0, 30);
  std::ofstream(folder.sub("log").cStr()) << entry(3, "c") << entry(4, "some text").substr(0, 49);
  CHECK(texts(folder) == Texts{"a", LOG_GAP, "c"});
  LogCursor cursor(folder.path().cStr(), -1, 0);
  for (bool atEnd = false; !atEnd;) cursor.read(atEnd);
  auto end = cursor.readCutOff();
  REQUIRE(end.size() == 2);
  CHECK(end[0].text == "some");
  CHECK(end[1].text == LOG_GAP);
  CHECK(cursor.readCutOff().empty());
}

TEST_CASE("log: a program that prints a log of this kind is no gap", "[runtime]") {
  testing::TestFolder folder("log-relay");
  auto inner = entry(1, "inner");
  inner.pop_back();
  std::ofstream(folder.sub("log").cStr()) << entry(5, inner.c_str()) << entry(6, "b std");
  CHECK(texts(folder) == Texts{inner, "b std"});
  CHECK(texts(folder, 1) == Texts{"b std"});
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
  CHECK(rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 5).rotated);
  first << entry(2, "b") << std::flush;
  CHECK(cursor.read(atEnd).at(0).text == "b");
  CHECK(cursor.read(atEnd).empty());
  CHECK(atEnd);
  // A second request would lose what conmon has not yet moved on from.
  CHECK(rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 5).missing);

  first << entry(3, "c") << std::flush;
  std::ofstream(current.cStr()) << entry(4, "d");
  CHECK(rotateLog(folder.path().cStr(), folder.path().cStr(), 10, 5).rotated);
  std::ofstream(current.cStr()) << entry(5, "e");
  Texts seen;
  do {
    for (auto& line : cursor.read(atEnd)) seen.push_back(line.text);
  } while (!atEnd);
  CHECK(seen == Texts{"c", "d", "e"});
}

// Of 46 bytes and more each.
TEST_CASE("log: old files go, by their count and by their size", "[runtime]") {
  testing::TestFolder folder("log");
  auto write = [&](unsigned i, unsigned lines) {
    std::ofstream file(folder.sub("log").cStr());
    for (unsigned j = 0; j < lines; ++j) file << entry(i, std::to_string(i).c_str());
  };
  for (unsigned i = 0; i < 5; ++i) {
    write(i, 1);
    rotateLog(folder.path().cStr(), folder.path().cStr(), 46, 2);
  }
  CHECK(texts(folder) == Texts{"3", "4"});
  // One that grew past twice the limit before anybody looked has all that is to be kept.
  write(5, 3);
  rotateLog(folder.path().cStr(), folder.path().cStr(), 46, 2);
  CHECK(texts(folder) == Texts{"5", "5", "5"});
  // Without a limit nothing is rotated.
  write(6, 3);
  CHECK_FALSE(rotateLog(folder.path().cStr(), folder.path().cStr(), 0, 2).rotated);
}

TEST_CASE("log: a rotated file is never replaced", "[runtime]") {
  testing::TestFolder folder("log");
  std::ofstream(folder.sub("log").cStr()) << entry(1, "a");
  auto gone = folder.sub("gone");
  CHECK(rotateLog(gone.cStr(), gone.cStr(), 10, 2).missing);
  // Something that is no file in the folder's place: it cannot be listed.
  CHECK_THROWS(rotateLog(folder.sub("log").cStr(), folder.path().cStr(), 10, 2));
}

std::string errorEntry(int second, const char* text, char tag = 'F') {
  auto line = entry(second, text, tag);
  return line.replace(line.find("stdout"), 6, "stderr");
}

TEST_CASE("log: a tail has whole lines though the streams' pieces are mixed", "[runtime]") {
  testing::TestFolder folder("log");
  std::ofstream(folder.sub("log.1").cStr())
      << errorEntry(1, "e0") << entry(1, "a1", 'P') << errorEntry(2, "e1", 'P');
  std::ofstream(folder.sub("log").cStr())
      << entry(3, "a2", 'P') << errorEntry(4, "e2") << errorEntry(5, "f1", 'P') << entry(6, "a3")
      << errorEntry(7, "f2") << entry(8, "open", 'P') << "2026-01-01T00:00:09.0000000";
  CHECK(texts(folder, 1) == Texts{"f1", "f2", "open"});
  CHECK(texts(folder, 2) == Texts{"a1", "a2", "f1", "a3", "f2", "open"});
  CHECK(texts(folder, 3) == Texts{"a1", "e1", "a2", "e2", "f1", "a3", "f2", "open"});
  CHECK(texts(folder, 4) == Texts{"e0", "a1", "e1", "a2", "e2", "f1", "a3", "f2", "open"});
  // A line belongs where it ends.
  constexpr int64_t SECOND = 1'000'000'000, BEGIN = 1767225600 * SECOND;
  CHECK(texts(folder, -1, BEGIN + 5 * SECOND) == Texts{"f1", "a1", "a2", "a3", "f2", "open"});
  CHECK(texts(folder, -1, BEGIN + 7 * SECOND) == Texts{"f1", "f2", "open"});
}

TEST_CASE("log: a line that is being written while the tail is looked for comes whole",
          "[runtime]") {
  testing::TestFolder folder("log");
  std::ofstream file(folder.sub("log").cStr());
  auto next = entry(2, "b");
  file << entry(1, "a") << next.substr(0, 20) << std::flush;
  LogCursor cursor(folder.path().cStr(), 0, 0);
  bool atEnd = false;
  CHECK(cursor.read(atEnd).empty());
  file << next.substr(20) << std::flush;
  CHECK(cursor.read(atEnd).at(0).text == "b");
}

TEST_CASE("log: the faster it grows the sooner it is looked at", "[runtime]") {
  // At rest: half as often each time.
  CHECK(nextLookMs(0, 100, 1000, 100, 1000) == 200);
  CHECK(nextLookMs(0, 800, 1000, 800, 1000) == 1000);
  // 1 KB/ms and 100 KB left: when that is used up.
  CHECK(nextLookMs(500'000, 500, 100'000, 1000, 1000) == 100);
  CHECK(nextLookMs(100'000'000, 100, 1'000'000, 1000, 1000) == MIN_LOOK_MS);
  CHECK(nextLookMs(1, 1000, 1 << 20, 1000, 1000) == 1000);
  // Those at rest at the same instants.
  auto at = [](int64_t ms) { return kj::origin<kj::TimePoint>() + ms * kj::MILLISECONDS; };
  CHECK(dueAfter(at(1234), 1000, 1000) == at(2000));
  CHECK(dueAfter(at(1999), 1000, 1000) == at(2000));
  CHECK(dueAfter(at(2000), 1000, 1000) == at(3000));
  CHECK(dueAfter(at(1234), 200, 1000) == at(1434));
}

}  // namespace
}  // namespace orch::runtime
