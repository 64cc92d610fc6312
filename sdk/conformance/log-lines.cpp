// What tests of a runtime read of a container's log.
#include "orch/conformance/runtime-conformance.h"

namespace orch::conformance {

namespace {

class LineKeeper final : public schema::LogSink::Server {
 public:
  explicit LineKeeper(std::vector<SeenLine>& seen) : seen(seen) {}
  kj::Promise<void> lines(LinesContext context) override {
    for (auto line : context.getParams().getLines()) {
      auto text = line.getText();
      seen.push_back({line.getStream() == schema::LogLine::Stream::STDERR, line.getPartial(),
                      std::string(reinterpret_cast<const char*>(text.begin()), text.size()),
                      line.getTimeNs()});
    }
    return kj::READY_NOW;
  }

 private:
  std::vector<SeenLine>& seen;
};

}  // namespace

schema::LogSink::Client keepLines(std::vector<SeenLine>& seen) {
  return kj::heap<LineKeeper>(seen);
}

std::vector<SeenLine> readLogs(RuntimeSubject& subject, kj::StringPtr id, int64_t tail,
                               int64_t sinceNs) {
  std::vector<SeenLine> seen;
  auto request = subject.runtime().logsRequest();
  request.setId(id);
  request.getOptions().setTail(tail);
  request.getOptions().setSinceNs(sinceNs);
  request.setSink(keepLines(seen));
  request.send().wait(subject.waitScope());
  return seen;
}

}  // namespace orch::conformance
