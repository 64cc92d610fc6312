// Logs of real containers under rotation.
#include <catch2/catch.hpp>

#include <filesystem>

#include "oci-subject.h"

namespace orch::runtime {
namespace {

// What is wrong with lines that shall be `begin`, begin + 1, … up to `end`; or empty.
std::string gapIn(const std::vector<conformance::SeenLine>& lines, unsigned begin, unsigned end) {
  std::string text;
  for (auto& line : lines) {
    text += line.text;
    if (line.partial) continue;  // conmon reads blocks: one may end within a line
    if (text != std::to_string(begin)) return "expected " + std::to_string(begin) + ", got " + text;
    ++begin;
    text.clear();
  }
  return begin == end + 1 ? "" : "ends before " + std::to_string(begin);
}

TEST_CASE("runtime: rotation under load loses and doubles no line", "[runtime][root][cgroup]") {
  OciSubject subject("rotation");
  // Slow enough to last for many checks of the size, and some 2 MB long in all.
  auto request =
      subject.request("c1",
                      "i=0; while [ $i -lt 40000 ]; do echo $i; i=$((i+1)); "
                      "[ $((i % 2000)) = 0 ] && sleep 0.05; done; sleep 0.3; echo 40000");
  request.getRequest().getLog().setMaxBytes(50'000);
  request.getRequest().getLog().setMaxFiles(1000);
  request.send().wait(subject.waitScope());
  std::vector<conformance::SeenLine> followed;
  auto follow = subject.runtime().logsRequest();
  follow.setId("c1");
  follow.getOptions().setFollow(true);
  follow.setSink(conformance::keepLines(followed));
  auto done = follow.send().ignoreResult().eagerlyEvaluate(nullptr);
  subject.start("c1");
  CHECK(subject.wait("c1") == 0);
  done.wait(subject.waitScope());
  CHECK(gapIn(followed, 0, 40'000) == "");

  auto all = conformance::readLogs(subject, "c1");
  CHECK(gapIn(all, 0, 40'000) == "");
  unsigned files = 0;
  auto folder =
      kj::str(subject.folder(), "/data/runtime.", PLUGIN_UNDER_TEST.name, "/containers/c1");
  for (auto& entry : std::filesystem::directory_iterator(folder.cStr())) {
    if (entry.path().filename().string().rfind("log.", 0) == 0) ++files;
  }
  CHECK(files > 3);
  auto tail = conformance::readLogs(subject, "c1", 5000);
  CHECK(gapIn(tail, 35'001, 40'000) == "");
  subject.remove("c1");
}

TEST_CASE("runtime: only so many rotated files are kept", "[runtime][root][cgroup]") {
  OciSubject subject("rotated");
  auto request = subject.request(
      "c1", "i=0; while [ $i -lt 6 ]; do seq 1 5000; sleep 0.25; i=$((i+1)); done; echo last");
  request.getRequest().getLog().setMaxBytes(1000);
  request.getRequest().getLog().setMaxFiles(2);
  CHECK(subject.run(kj::mv(request)) == 0);
  unsigned files = 0;
  auto folder =
      kj::str(subject.folder(), "/data/runtime.", PLUGIN_UNDER_TEST.name, "/containers/c1");
  for (auto& entry : std::filesystem::directory_iterator(folder.cStr())) {
    if (entry.path().filename().string().rfind("log.", 0) == 0) ++files;
  }
  CHECK(files >= 1);  // as many as hold what is to be kept
  CHECK(files <= 2);
  CHECK(conformance::readLogs(subject, "c1").back().text == "last");
  subject.remove("c1");
}

TEST_CASE("runtime: a line without an end is partial", "[runtime][root][cgroup]") {
  OciSubject subject("partial");
  auto request =
      subject.request("c1", "printf 'no end'; head -c 20000 /dev/zero | tr '\\0' x; echo");
  CHECK(subject.run(kj::mv(request)) == 0);
  auto lines = conformance::readLogs(subject, "c1");
  std::string joined;
  REQUIRE(lines.size() > 1);
  for (auto& line : lines) joined += line.text;
  CHECK(joined == "no end" + std::string(20000, 'x'));
  CHECK(lines.front().partial);
  CHECK_FALSE(lines.back().partial);
  // A whole line, however many entries it is in.
  CHECK(conformance::readLogs(subject, "c1", 1).size() == lines.size());
  subject.remove("c1");
}

}  // namespace
}  // namespace orch::runtime
