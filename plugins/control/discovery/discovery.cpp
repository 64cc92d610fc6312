#include "discovery.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::discovery {

namespace {

using Kind = kj::Exception::Type;

BeatTimes timesOf(Config::Reader settings) {
  auto heartbeat = settings.getHeartbeatMs();
  if (settings.getTtlMs() <= heartbeat + heartbeat / 10) {
    fail(kj::str("ttlMs is ", settings.getTtlMs(), "; accepted: more than heartbeatMs (", heartbeat,
                 ") and a tenth of it"));
  }
  return {heartbeat * kj::MILLISECONDS, settings.getTtlMs()};
}

}  // namespace

Discovery::Discovery(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      table({settings.getMassLossOneIn(), static_cast<int64_t>(settings.getGraceMs())}),
      graceMs(static_cast<int64_t>(settings.getGraceMs())),
      times(timesOf(settings)),
      whenChanged(nullptr),
      tasks(*this) {
  auto pair = kj::newPromiseAndFulfiller<void>();
  change = kj::mv(pair.fulfiller);
  whenChanged = pair.promise.fork();
}
Discovery::~Discovery() noexcept(false) {}

int64_t Discovery::nowMs() {
  return (env.timer().now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
}

Task<void> Discovery::start() {
  auto request = host.client().subscribeRequest();
  request.initTopics(1).set(0, "plugin.started");
  request.setSink(newStartedSink(kj::addRef(*this)));
  auto subscribed = co_await request.send();
  subscription = subscribed.getSubscription();
  co_await rescan();
}

void Discovery::end() {
  ended = true;
  subscription = nullptr;
  for (auto& [name, backend] : backends) backend->end();
  backends.clear();
  expiry = nullptr;
  change->fulfill();
}

Task<void> Discovery::rescan() {
  auto request = host.client().servicesRequest();
  request.setPrefix("discovery.");
  auto response = co_await request.send();
  for (auto name : response.getNames()) {
    if (ended) co_return;
    if (backends.count(name.cStr()) > 0) continue;
    if (backends.size() >= MAX_BACKENDS) {
      host.log().warn("discovery.too-many-backends", {{"ignored", name}});
      co_return;
    }
    auto backend = kj::refcounted<Backend>(env, host, *this, kj::str(name), times);
    auto& added = *backend;
    backends.emplace(name.cStr(), kj::mv(backend));
    added.start();
  }
}

void Discovery::answered(kj::StringPtr backend,
                         capnp::List<schema::DiscoveryEntry>::Reader entries) {
  auto loss = table.answer(backend.cStr(), entries, nowMs());
  if (loss) {
    host.publish("discovery.massLoss", backend,
                 {{"lost", loss->lost}, {"of", loss->of}, {"heldForMs", graceMs}});
    host.log().warn(
        "discovery.mass-loss",
        {{"backend", backend}, {"lost", loss->lost}, {"of", loss->of}, {"heldForMs", graceMs}});
    armExpiry();
  }
  changed();
}

void Discovery::gone(kj::StringPtr backend) {
  table.forget(backend.cStr());
  changed();
  // Not now: this is a call of its own.
  auto name = std::string(backend.cStr());
  tasks.add(kj::evalLater([this, name] {
    auto found = backends.find(name);
    if (found == backends.end()) return;
    found->second->end();
    backends.erase(found);
  }));
}

void Discovery::armExpiry() {
  auto next = table.nextExpiryMs();
  if (!next || ended) return;
  expiry = env.timer()
               .atTime(kj::origin<kj::TimePoint>() + *next * kj::MILLISECONDS)
               .then([this] {
                 table.expire(nowMs());
                 changed();
                 tasks.add(kj::evalLater([this] { armExpiry(); }));
               })
               .eagerlyEvaluate([this](kj::Exception&& e) { taskFailed(kj::mv(e)); });
}

void Discovery::changed() {
  if (ended || table.version() == told) return;
  told = table.version();
  auto old = kj::mv(change);
  auto pair = kj::newPromiseAndFulfiller<void>();
  change = kj::mv(pair.fulfiller);
  whenChanged = pair.promise.fork();
  old->fulfill();
}

Task<void> Discovery::watch(schema::DiscoverySink::Client sink) {
  uint64_t seen = 0;
  for (bool first = true;; first = false) {
    while (!first && seen == table.version() && !ended) co_await whenChanged.addBranch();
    if (ended) kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the service has stopped"));
    seen = table.version();
    auto request = sink.entriesRequest();
    auto rows = table.rows();
    auto entries = request.initEntries(rows.size());
    uint32_t i = 0;
    for (auto& [address, row] : rows) entries.setWithCaveats(i++, row.entry);
    co_await request.send();
  }
}

void Discovery::list(schema::NodeDiscovery::ListResults::Builder results) {
  auto rows = table.rows();
  auto entries = results.initEntries(rows.size());
  uint32_t i = 0;
  for (auto& [address, row] : rows) {
    auto entry = entries[i++];
    entry.setEntry(row.entry);
    entry.setHeld(row.held);
    auto names = entry.initBackends(row.backends.size());
    for (uint32_t n = 0; n < names.size(); ++n) names.set(n, row.backends[n].c_str());
  }
  auto list = results.initBackends(backends.size());
  i = 0;
  for (auto& [name, backend] : backends) {
    auto status = list[i++];
    backend->describe(status);
    auto count = table.countOf(name);
    status.setEntries(count.entries);
    status.setHeld(count.held);
  }
}

kj::Maybe<schema::DiscoveryEntry::Reader> Discovery::announced() {
  KJ_IF_MAYBE (message, own) return (*message)->getRoot<schema::DiscoveryEntry>().asReader();
  return nullptr;
}

void Discovery::announce(schema::DiscoveryEntry::Reader entry) {
  KJ_REQUIRE(entry.getAddress().size() > 0, "an entry has an address");
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  message->setRoot(entry);
  KJ_IF_MAYBE (before, announced()) {
    if (before->getAddress() != entry.getAddress()) {
      for (auto& [name, backend] : backends) backend->unregister(kj::str(before->getAddress()));
    }
  }
  own = kj::mv(message);
  for (auto& [name, backend] : backends) backend->announceAgain();
}

Task<kj::String> Discovery::create(kj::String hub) {
  std::vector<schema::Discovery::Client> clients;
  for (auto& [name, backend] : backends) clients.push_back(backend->client());
  for (auto& client : clients) {
    auto request = client.createRequest();
    request.setHub(hub);
    auto made = co_await attempt(request.send());
    if (made.ok()) co_return kj::str(made.value().getUri());
    if (made.error().getType() != Kind::UNIMPLEMENTED) fail(kj::str(made.message()));
  }
  fail(
      kj::str("no plugin of this node makes clusters; add to the manifest: [[plugin]] id = "
              "\"discovery.token\", then 'orch config reload'"));
}

void Discovery::taskFailed(kj::Exception&& exception) {
  host.log().error("discovery.failed", {{"reason", exception.getDescription()}});
}

}  // namespace orch::control::discovery
