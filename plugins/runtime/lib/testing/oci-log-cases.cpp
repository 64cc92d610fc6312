// Logs of real containers under rotation.
#include <catch2/catch.hpp>

#include <string>

#include "log-file.h"
#include "oci-subject.h"
#include "orch/testing/held-time.h"

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

// On the last line.
unsigned lastNumber(const std::vector<conformance::SeenLine>& lines) {
  std::string text;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (!text.empty() && !line->partial) break;
    text = line->text + text;
  }
  return text.empty() ? 0 : std::stoul(text);
}

// Of c1, sorted.
std::vector<uint64_t> rotatedLogs(const OciSubject& subject) {
  return logNumbers(subject.diskFile("c1", ""));
}

// It has been told to write no more, and ends by itself; its exit code.
int stopWriter(OciSubject& subject) {
  auto stop = subject.runtime().stopRequest();
  stop.setId("c1");
  stop.setGraceMs(60'000);
  return stop.send().wait(subject.waitScope()).getExit().getCode();
}

TEST_CASE("runtime: rotation under load loses and doubles no line", "[runtime][root][cgroup]") {
  OciSubject subject("rotation");
  // Some 2 MB, and then as much as it takes to be rotated a few times.
  auto request =
      subject.request("c1",
                      "trap 'over=1' TERM; i=0; while [ $i -lt 40000 ] || [ -z \"$over\" ]; do "
                      "echo $i; i=$((i+1)); [ $((i % 2000)) = 0 ] && sleep 0.05; done; true");
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
  testing::until(subject.env(), subject.waitScope(), "four logs that were rotated",
                 [&] { return rotatedLogs(subject).size() > 3; });
  CHECK(stopWriter(subject) == 0);
  done.wait(subject.waitScope());
  unsigned last = lastNumber(followed);
  REQUIRE(last >= 40'000 - 1);
  CHECK(gapIn(followed, 0, last) == "");

  auto all = conformance::readLogs(subject, "c1");
  CHECK(gapIn(all, 0, last) == "");
  auto tail = conformance::readLogs(subject, "c1", 5000);
  CHECK(gapIn(tail, last - 4'999, last) == "");
  subject.remove("c1");
}

TEST_CASE("runtime: only so many rotated files are kept", "[runtime][root][cgroup]") {
  OciSubject subject("rotated");
  auto request = subject.request("c1",
                                 "trap 'over=1' TERM; while [ -z \"$over\" ]; do seq 1 5000; "
                                 "sleep 0.05; done; echo last");
  request.getRequest().getLog().setMaxBytes(1000);
  request.getRequest().getLog().setMaxFiles(2);
  request.send().wait(subject.waitScope());
  subject.start("c1");
  testing::until(subject.env(), subject.waitScope(), "the fifth log that is rotated", [&] {
    auto logs = rotatedLogs(subject);
    return !logs.empty() && logs.back() >= 5;
  });
  CHECK(stopWriter(subject) == 0);
  CHECK(rotatedLogs(subject).size() >= 1);  // as many as hold what is to be kept
  // The last look may still be taking one away.
  testing::until(subject.env(), subject.waitScope(), "two logs at most",
                 [&] { return rotatedLogs(subject).size() <= 2; });
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
