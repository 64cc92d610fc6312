// What is passed on of a container's output, and what is left out.
#include "attached-program.h"

#include <catch2/catch.hpp>
#include <kj/async.h>

namespace orch::runtime {
namespace {

struct SlowReader {
  std::string output, errors;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  bool slow = true;
  void goOn() {
    slow = false;
    for (auto& one : waiting) one->fulfill();
    waiting.clear();
  }
};

class SlowReaderServer final : public schema::ProgramOutput::Server {
 public:
  explicit SlowReaderServer(SlowReader& reader) : reader(reader) {}
  kj::Promise<void> write(WriteContext context) override {
    auto data = context.getParams().getData();
    bool isError = context.getParams().getStream() == schema::LogLine::Stream::STDERR;
    (isError ? reader.errors : reader.output)
        .append(reinterpret_cast<const char*>(data.begin()), data.size());
    if (!reader.slow) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    reader.waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  SlowReader& reader;
};

}  // namespace

TEST_CASE("attach: what a slow reader does not take in time is left out, and that is said",
          "[runtime]") {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  SlowReader reader;
  AttachedOutput output(kj::heap<SlowReaderServer>(reader));
  auto running = output.run().promise().eagerlyEvaluate(nullptr);
  auto packet = kj::heapArray<kj::byte>(8192);
  memset(packet.begin(), 'y', packet.size());
  constexpr size_t PACKETS = 1000;
  for (size_t i = 0; i < PACKETS; ++i) {
    output.add(schema::LogLine::Stream::STDOUT, packet);
    kj::evalLast([] {}).wait(scope);
  }
  // So many are under way, or wait; the rest is none of the container's concern.
  CHECK(reader.output.size() == OutputPump::MAX_UNDER_WAY * packet.size());
  reader.goOn();
  kj::evalLast([] {}).wait(scope);
  while (reader.errors.empty()) kj::evalLast([] {}).wait(scope);
  auto passedOn = reader.output.size();
  CHECK(passedOn >= AttachedOutput::MAX_BYTES);
  CHECK(passedOn < AttachedOutput::MAX_BYTES + 10 * packet.size());
  CHECK_THAT(reader.errors, Catch::Contains(std::to_string(PACKETS * packet.size() - passedOn) +
                                            " bytes came faster than they were read"));
  output.add(schema::LogLine::Stream::STDERR, kj::StringPtr("again").asBytes());
  output.close();
  running.wait(scope);
  CHECK(reader.output.size() == passedOn);
  CHECK_THAT(reader.errors, Catch::EndsWith("left out\nagain"));
}

}  // namespace orch::runtime
