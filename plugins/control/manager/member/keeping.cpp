// What a manager keeps of the authority on its disk, and the lock of that.
#include <kj/debug.h>
#include <sodium.h>
#include <unistd.h>

#include <cerrno>

#include "member/membership.h"
#include "member/sealed.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/trust/lock-box.h"
#include "serve/service-requests.h"

namespace orch::control::manager {

namespace {

constexpr kj::Duration LOCK_AGAIN = 1 * kj::SECONDS;
constexpr const char* WHAT = "authority of the cluster";
constexpr const char* REMEDY = "restore it from a backup: without it no node can join";
constexpr std::string_view ENCRYPTED = "orch: encrypted;";  // before what is

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

}  // namespace

Task<std::string> Membership::dataKey() {
  auto asked = co_await trust.dataKeyRequest().send();
  auto key = asked.getKey().asChars();
  co_return std::string(key.begin(), key.size());
}

// A lock that came between two writes is made up for.
Task<void> Membership::readAuthority() {
  auto read = [path = file]() { return readChecked(path, WHAT, REMEDY); };
  auto bytes = co_await env.workers().run(kj::mv(read));
  if (bytes == nullptr) co_return;
  auto content = KJ_ASSERT_NONNULL(bytes).asChars();
  std::string secret(content.begin(), content.size());
  bool encrypted = secret.starts_with(ENCRYPTED);
  if (encrypted) {
    auto key = co_await dataKey();
    auto opened = trust::openUp(key, secret.substr(ENCRYPTED.size()));
    if (opened == nullptr) {
      host.log().warn("trust.authority-unreadable, asking the leader for it",
                      {{"reason", "it is encrypted with the key of a lock that is no more"}});
      co_return;
    }
    secret = kj::mv(KJ_ASSERT_NONNULL(opened));
  }
  authority = Authority::decode(secret);
  if (encrypted == lock.empty()) co_await write(kj::mv(secret), !lock.empty());
}

// Its key is on the disk before anything is signed with it.
Task<void> Membership::keep(Authority fresh) {
  co_await write(fresh.encode(), !lock.empty());
  authority = kj::mv(fresh);
}

Task<void> Membership::dropAuthority() {
  auto alone = co_await following.enter();
  authority = nullptr;
  auto remove = [path = file]() {
    if (unlink(path.c_str()) == 0) return syncFolder(path.substr(0, path.rfind('/')));
    if (errno != ENOENT) failFile("remove", path, errno);
  };
  co_await env.workers().run(kj::mv(remove));
}

Task<void> Membership::write(std::string secret, bool encrypted) {
  if (leaves) fail(kj::str("this node leaves the cluster"));
  if (encrypted) {
    auto key = co_await dataKey();
    secret = std::string(ENCRYPTED) + trust::lockUp(key, secret);
  }
  auto write = [path = file, text = kj::mv(secret)]() { writeChecked(path, bytesOf(text)); };
  co_await env.workers().run(kj::mv(write));
}

Task<void> Membership::unlocked() {
  co_await trust.unlockedRequest().send().ignoreResult();
  locked = false;
  co_await readAuthority();
}

// Whatever instant it is cut off at, the next start has all that is needed to read both.
Task<void> Membership::followLock(std::string key) {
  auto alone = co_await following.enter();
  auto name = trust::nameOfKey(key);
  if (!member || name == lock) co_return;
  bool opens = name.empty();
  if (opens && authority != nullptr) co_await write(authoritySecret(), false);
  auto request = trust.lockRequest();
  request.setKey(bytesOf(key));
  co_await request.send().ignoreResult();
  if (!opens && authority != nullptr) co_await write(authoritySecret(), true);
  // Not before all of it is so: else nobody would try again.
  lock = kj::mv(name);
  host.log().info(opens ? "this manager is not locked any more when it starts again"
                        : "this manager waits for the unlock key when it starts again");
}

Task<void> Membership::lockAsState() { co_await followLock(lockKey()); }

Task<void> Membership::followStatesLock() {
  if (!member) co_return;
  auto followed = co_await attempt(lockAsState());
  if (followed.ok()) co_return;
  host.log().warn("trust.lock-not-taken, going on with the lock of before",
                  {{"reason", followed.message()}});
  locking = keepLocking().promise().eagerlyEvaluate(nullptr);
}

// Of whoever leads: all others wait for its lock to be that of the state.
Task<void> Membership::keepLocking() {
  for (;;) {
    co_await env.timer().afterDelay(LOCK_AGAIN);
    if (!manager.leads()) co_return;
    auto followed = co_await attempt(lockAsState());
    if (followed.ok()) co_return;
  }
}

std::string Membership::lockKey() const {
  auto cluster = clusterOf(manager.state());
  if (cluster == nullptr) return {};
  auto box = KJ_ASSERT_NONNULL(cluster).getSealedLockKey();
  if (box.size() == 0) return {};
  requireAuthority();
  KJ_IF_MAYBE (key, unsealed(stateKey(), box)) {
    return std::string(key->asChars().begin(), key->size());
  }
  fail(kj::str("the unlock key is encrypted with another key than this manager has"));
}

Task<void> Membership::changeLock(kj::String requestId, Lock wanted) {
  if (wanted != Lock::OFF) requireAuthority();
  auto fresh = sealed(stateKey(), bytesOf(trust::newLockKey()));
  Decide decide = [wanted, fresh = kj::mv(fresh), id = kj::str(requestId)](View& view) {
    if (!earlier(view, id, "changeLock").empty()) return;
    auto cluster = KJ_REQUIRE_NONNULL(view.cluster(), "there is no cluster");
    bool is = cluster.getSealedLockKey().size() > 0;
    if (wanted == Lock::FRESH && !is) {
      fail(kj::str("managers are not locked; 'orch cluster update --autolock=true' locks them"));
    }
    auto clusterId = text(cluster.getMeta().getId());
    if (wanted == Lock::FRESH || (wanted == Lock::ON) != is) {
      view.edit<schema::Cluster>(Kind::CLUSTER, clusterId, [&](schema::Cluster::Builder changed) {
        if (wanted == Lock::OFF) {
          changed.disownSealedLockKey();
        } else {
          changed.setSealedLockKey(fresh);
        }
      });
    }
    remember(view, id, "changeLock", clusterId);
  };
  co_await manager.submit(kj::mv(decide), requestId);
  auto followed = co_await attempt(lockAsState());
  if (followed.ok()) co_return;
  locking = keepLocking().promise().eagerlyEvaluate(nullptr);
  fail(kj::str("it is decided, but not in force yet, as this manager cannot write its keys: ",
               followed.message(), "; it tries again until it can"));
}

}  // namespace orch::control::manager
