// The keys of this host's member of a managed etcd.
#include <sys/stat.h>

#include <filesystem>
#include <utility>

#include "managed/keys.h"
#include "managed/managed-etcd.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"

namespace orch::store::etcd {

namespace {

constexpr int64_t KEYS_AFTER_NS = 30 * kj::DAYS / kj::NANOSECONDS;  // they are valid for a year

void writeSecret(const std::string& path, const std::string& text) {
  replaceFile(path, kj::arrayPtr(text.data(), text.size()).asBytes(), Outlives::PROCESS);
}

}  // namespace

Task<void> ManagedEtcd::writeKeys() {
  auto nowNs = env.nowNs();
  auto made = memberKeys(own().getAuthority().cStr(), own().getName().cStr(),
                         own().getAddress().cStr(), ownKey, nowNs);
  ownKey = made.key;
  auto writing = env.workers().run([made, files = settings.tls(), folder = settings.folder] {
    auto at = folder + "/tls";
    std::filesystem::create_directories(at);
    chmod(at.c_str(), S_IRWXU);
    writeSecret(files.ca, made.authority);
    writeSecret(files.key, made.key);
    writeSecret(files.certificate, made.certificate);
  });
  co_await writing;
  keysMadeNs = nowNs;
}

// By the clock, which may be set: it is others' that they are valid by.
bool ManagedEtcd::areKeysDue() {
  auto nowNs = env.nowNs();
  return nowNs < keysMadeNs || nowNs - keysMadeNs >= KEYS_AFTER_NS;
}

Task<bool> ManagedEtcd::renewKeys() {
  auto written = co_await attempt(writeKeys());
  std::string why = written.ok() ? "" : written.message().cStr();
  if (!why.empty() && why != keysNotWritten) {
    log.warn("store.member-keys-not-written, trying again later", {{"reason", why.c_str()}});
  }
  keysNotWritten = std::move(why);
  co_return written.ok();
}

}  // namespace orch::store::etcd
