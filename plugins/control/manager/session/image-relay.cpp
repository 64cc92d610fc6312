#include "session/image-relay.h"

#include "orch/fail.h"
#include "orch/task.h"

namespace orch::control::manager {

namespace {

constexpr uint32_t MAX_PART_BYTES = 64 << 10;
constexpr kj::Duration PART_LIMIT = 15 * kj::SECONDS;

class ImageRelay final : public schema::ImageReader::Server {
 public:
  ImageRelay(kj::Own<kj::Refcounted> owner, Env& env, RelayPlaces& places,
             kj::Own<RelaySource> source, kj::StringPtr image)
      : owner(kj::mv(owner)),
        env(env),
        places(places),
        source(kj::mv(source)),
        image(kj::str(image)) {}

  kj::Promise<void> read(ReadContext context) override {
    context.allowCancellation();
    return relay(context);
  }

 private:
  Task<void> relay(ReadContext context) {
    // First what is rarer.
    auto own = co_await source->places.enter();
    auto place = co_await places.all.enter();
    auto params = context.getParams();
    auto request = source->agent.readBlobRequest();
    request.setImage(image);
    request.setBlob(params.getBlob());
    request.setOffset(params.getOffset());
    request.setMaxBytes(kj::min(params.getMaxBytes(), MAX_PART_BYTES));
    kj::Promise<capnp::Response<schema::BlobPart>> sent = request.send();
    auto late = []() -> capnp::Response<schema::BlobPart> {
      fail(kj::str("it has not answered for ", PART_LIMIT / kj::SECONDS, " s"));
    };
    auto inTime = sent.exclusiveJoin(env.timer().afterDelay(PART_LIMIT).then(kj::mv(late)));
    auto part = co_await inTime;
    auto bytes = part.getData();
    if (bytes.size() > MAX_PART_BYTES) fail(kj::str("it sends more than it was asked for"));
    constexpr size_t BESIDE = 8;  // the results' own struct and what is rounded up
    auto results =
        context.getResults(capnp::MessageSize{bytes.size() / sizeof(capnp::word) + BESIDE, 0});
    results.setData(bytes);
    results.setTotalBytes(part.getTotalBytes());
  }

  kj::Own<kj::Refcounted> owner;  // before what it owns
  Env& env;
  RelayPlaces& places;
  kj::Own<RelaySource> source;
  const kj::String image;
};

}  // namespace

schema::ImageReader::Client newImageRelay(kj::Own<kj::Refcounted> owner, Env& env,
                                          RelayPlaces& places, kj::Own<RelaySource> source,
                                          kj::StringPtr image) {
  return kj::heap<ImageRelay>(kj::mv(owner), env, places, kj::mv(source), image);
}

}  // namespace orch::control::manager
