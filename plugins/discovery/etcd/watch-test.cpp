// How the backend goes on after what a real etcd cannot be made to say at a given instant.
#include <catch2/catch.hpp>
#include <kj/compat/http.h>
#include <kj/encoding.h>

#include "etcd-backend.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"

namespace orch::discovery::etcd {
namespace {

std::string coded(const std::string& text) {
  return kj::encodeBase64(kj::StringPtr(text.c_str()).asBytes(), false).cStr();
}

// Answers as it is told: each list once, the last again and again.
class ToldEtcd final : public kj::HttpService {
 public:
  explicit ToldEtcd(kj::AsyncIoContext& io)
      : server(io.provider->getTimer(), table, *this),
        receiver(io.provider->getNetwork().parseAddress("127.0.0.1").wait(io.waitScope)->listen()),
        listening(server.listenHttp(*receiver).eagerlyEvaluate(nullptr)) {}

  // At this revision; each was put there at its own.
  void list(uint64_t revision, const std::vector<std::string>& addresses) {
    auto header = "{\"header\":{\"revision\":\"" + std::to_string(revision) + "\"}";
    std::string kvs;
    for (size_t i = 0; i < addresses.size(); ++i) {
      kvs += std::string(i > 0 ? "," : "") + "{\"key\":\"" + coded("n/" + addresses[i]) +
             "\",\"mod_revision\":\"" + std::to_string(i + 1) + "\",\"value\":\"" +
             coded(addresses[i]) + "\"}";
    }
    lists.push_back(header + ",\"succeeded\":true,\"responses\":[{\"response_range\":" + header +
                    ",\"kvs\":[" + kvs + "],\"count\":\"" + std::to_string(addresses.size()) +
                    "\"}},{\"response_range\":" + header + "}}]}");
  }
  // What the next watch is told; it stays open then.
  void tell(const std::string& results) { tellings.push_back(results); }
  std::string uri() { return "etcd://127.0.0.1:" + std::to_string(receiver->getPort()); }

  std::vector<std::string> watches;  // as they were asked for
  size_t read = 0;

  kj::Promise<void> request(kj::HttpMethod, kj::StringPtr url, const kj::HttpHeaders&,
                            kj::AsyncInputStream& body, Response& response) override {
    bool watch = url == "/v3/watch";
    return body.readAllText().then([this, watch, &response](kj::String text) {
      std::string said;
      if (watch) {
        said = watches.size() < tellings.size() ? tellings[watches.size()] : "";
        watches.emplace_back(text.cStr());
      } else {
        said = lists[std::min(read++, lists.size() - 1)];
      }
      kj::Maybe<uint64_t> size;
      if (!watch) size = said.size();
      auto out = response.send(200, "OK", kj::HttpHeaders(table), size);
      auto kept = kj::heap<std::string>(std::move(said));
      auto writing = out->write(kept->data(), kept->size());
      if (watch) writing = writing.then([] { return kj::Promise<void>(kj::NEVER_DONE); });
      return writing.attach(kj::mv(out), kj::mv(kept));
    });
  }

 private:
  kj::HttpHeaderTable table;
  kj::HttpServer server;
  kj::Own<kj::ConnectionReceiver> receiver;
  kj::Promise<void> listening;
  std::vector<std::string> lists, tellings;
};

// The backend beside one that is told what to answer.
struct Watching {
  void start() {
    auto place = parseKeyPlace({"etcd", ":2379"}, told.uri(), "n", false);
    auto& made = *backend.emplace(
        kj::refcounted<EtcdBackend>(*env, place, http::TlsFiles(), 60 * kj::SECONDS));
    following = made.follow().promise().eagerlyEvaluate(nullptr);
    watching = made.watch(conformance::keepSeen(seen)).promise().eagerlyEvaluate(nullptr);
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, io.waitScope, what, kj::mv(reached));
  }
  bool asked(size_t watch, uint64_t from) {
    auto words = "\"start_revision\":\"" + std::to_string(from) + "\"";
    return told.watches.size() > watch && told.watches[watch].find(words) != std::string::npos;
  }
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  ToldEtcd told{io};
  kj::Maybe<kj::Own<EtcdBackend>> backend;
  kj::Promise<void> following = nullptr, watching = nullptr;
};

std::string changeOf(const std::string& address, uint64_t revision, uint64_t newest) {
  return "{\"result\":{\"header\":{\"revision\":\"" + std::to_string(newest) +
         "\"},\"fragment\":true,\"events\":[{\"kv\":{\"key\":\"" + coded("n/" + address) +
         "\",\"mod_revision\":\"" + std::to_string(revision) + "\"}}]}}\n";
}
const std::string CREATED = "{\"result\":{\"header\":{\"revision\":\"9\"},\"created\":true}}\n";

TEST_CASE("etcd: what is compacted between the list and the watch is read anew", "[discovery]") {
  Watching all;
  all.told.list(5, {"10.0.0.1:1"});
  all.told.list(8, {"10.0.0.1:1", "10.0.0.2:1"});
  all.told.tell(CREATED + "{\"result\":{\"canceled\":true,\"compact_revision\":\"7\"}}\n");
  all.told.tell(CREATED);
  all.start();
  all.until("the second watch", [&] { return all.told.watches.size() == 2; });
  CHECK((all.asked(0, 6) && all.asked(1, 9)));
  all.until("both", [&] { return !all.seen.lists.empty() && all.seen.lists.back().size() == 2; });
  CHECK(all.seen.failures.empty());
}

TEST_CASE("etcd: what was read already is not read again for its events", "[discovery]") {
  Watching all;
  all.told.list(5, {"10.0.0.1:1"});
  all.told.list(8, {"10.0.0.1:1", "10.0.0.2:1"});
  all.told.list(9, {"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"});
  // Old changes come with the newest revision in their header.
  all.told.tell(CREATED + changeOf("10.0.0.2:1", 6, 9) + changeOf("10.0.0.2:1", 8, 9) +
                changeOf("10.0.0.3:1", 9, 9));
  all.start();
  all.until("all", [&] { return !all.seen.lists.empty() && all.seen.lists.back().size() == 3; });
  CHECK(all.told.read == 3);
  CHECK(all.told.watches.size() == 1);
}

TEST_CASE("etcd: a watch that is refused is told, and the list stands", "[discovery]") {
  Watching all;
  all.told.list(5, {"10.0.0.1:1"});
  // Once may be an accident.
  for (int i = 0; i < 2; ++i) {
    all.told.tell(
        "{\"result\":{\"created\":true,\"canceled\":true,\"cancel_reason\":\"etcdserver: no\"}}\n");
  }
  all.told.tell(CREATED);
  all.start();
  all.until("the failure", [&] { return !all.seen.failures.empty(); });
  CHECK(all.seen.failures[0] == "etcd at 'http" + all.told.uri().substr(4) +
                                    "' does not let itself be watched: etcdserver: no");
  all.until("that it works", [&] { return all.seen.failures.size() < all.seen.lists.size(); });
  all.until("the third watch", [&] { return all.told.watches.size() == 3; });
  CHECK(all.seen.failures.size() == 1);
  CHECK(all.asked(2, 6));
  CHECK(all.seen.lists[1] == std::vector<std::string>{"10.0.0.1:1"});
}

}  // namespace
}  // namespace orch::discovery::etcd
