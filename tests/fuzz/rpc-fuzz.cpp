// What arrives on orchd's socket: bytes of a stranger end a connection at worst, never the kernel.
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include "kernel/kernel.h"
#include "orch/testing/virtual-env.h"

namespace {

// One kernel for all inputs, as in life: what one connection does must not harm the next.
struct Fixture {
  orch::testing::VirtualWorld world{1};
  orch::Kernel kernel{world.env(), orch::config::Manifest{}, orch::plugin::PluginPlaces{}, ""};
  Fixture() {
    auto started = kernel.start().promise();
    started.wait(world.waitScope());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Fixture fixture;
  auto& world = fixture.world;
  auto pipe = kj::newTwoWayPipe();
  capnp::TwoPartyServer server(fixture.kernel.gateway());
  server.accept(kj::mv(pipe.ends[0]));
  auto answers = pipe.ends[1]->readAllBytes(1 << 20).then([](kj::Array<kj::byte>&&) {},
                                                          [](kj::Exception&&) {});
  auto sent = pipe.ends[1]
                  ->write(data, size)
                  .then([&]() { pipe.ends[1]->shutdownWrite(); }, [](kj::Exception&&) {})
                  .eagerlyEvaluate(nullptr);
  world.settle();
  return 0;
}
