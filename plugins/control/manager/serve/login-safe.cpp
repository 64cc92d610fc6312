#include "serve/login-safe.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cstring>

#include "member/sealed.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "serve/service-requests.h"

namespace orch::control::manager {

LoginSafe::LoginSafe(Env& env, Host& host, Manager& manager, const Membership& members)
    : env(env),
      manager(manager),
      members(members),
      file(std::string(host.node().dataDir.cStr()) + "/" + host.node().instance.cStr() +
           "/login-key") {
  KJ_REQUIRE(sodium_init() >= 0, "libsodium does not work here");
}

Task<void> LoginSafe::start() {
  auto read = [file = file]() -> kj::Array<kj::byte> {
    auto content = readChecked(file, "key of registries' logins",
                               "take it from a backup, or move it away and update the services "
                               "with --with-registry-auth");
    KJ_IF_MAYBE (bytes, content) {
      if (bytes->size() == crypto_secretbox_KEYBYTES) return kj::mv(*bytes);
      fail(kj::str("the key of registries' logins, '", file.c_str(), "', is of another length"));
    }
    return nullptr;
  };
  key = co_await env.workers().run(kj::mv(read));
}

Task<void> LoginSafe::makeKey() {
  auto alone = co_await making.enter();
  if (key.size() > 0) co_return;
  auto fresh = kj::heapArray<kj::byte>(crypto_secretbox_KEYBYTES);
  crypto_secretbox_keygen(fresh.begin());
  co_await writeKey(kj::mv(fresh));
}

Task<void> LoginSafe::writeKey(Key fresh) {
  auto write = [file = file, fresh = kj::mv(fresh)]() mutable {
    auto folder = file.substr(0, file.rfind('/'));
    if (mkdir(folder.c_str(), 0700) < 0 && errno != EEXIST) failFile("make", folder, errno);
    writeChecked(file, fresh);
    return kj::mv(fresh);
  };
  key = co_await env.workers().run(kj::mv(write));
}

Task<void> LoginSafe::takeKey(Key fresh) {
  if (fresh.size() != crypto_secretbox_KEYBYTES) {
    fail(kj::str("the key of registries' logins in the backup is of another length"));
  }
  auto alone = co_await making.enter();
  co_await writeKey(kj::mv(fresh));
}

LoginSafe::Key LoginSafe::sharedKey() const {
  if (!members.hasAuthority()) return nullptr;
  return members.stateKey();
}

Task<kj::Array<kj::byte>> LoginSafe::seal(schema::RegistryLogin::Reader login) {
  capnp::MallocMessageBuilder message;
  message.setRoot(login);
  auto plain = capnp::messageToFlatArray(message);
  if (plain.asBytes().size() > MAX_BYTES) {
    fail(kj::str("usage: a login for a registry has at most ", MAX_BYTES, " bytes"));
  }
  auto shared = members.isMember() ? sharedKey() : Key();
  if (shared.size() == 0) co_await makeKey();
  auto& with = shared.size() > 0 ? shared : key;
  auto box = sealed(with, plain.asBytes());
  sodium_memzero(plain.begin(), plain.asBytes().size());
  co_return kj::mv(box);
}

LoginSafe::Key LoginSafe::resealed(kj::ArrayPtr<const kj::byte> box, const Key& to) const {
  Key fresh;
  const Key shared = sharedKey();
  for (auto* from : {&to, &shared, &key}) {
    KJ_IF_MAYBE (plain, unsealed(*from, box)) {
      if (from != &to) fresh = sealed(to, *plain);
      sodium_memzero(plain->begin(), plain->size());
      return fresh;
    }
  }
  return fresh;
}

Task<void> LoginSafe::resealAll(Key to) {
  struct Change {
    std::string id;
    kj::Array<kj::byte> before, after;
  };
  std::vector<Change> changes;
  for (auto& [id, object] : manager.state().all(Kind::SERVICE)) {
    auto box = object.as<schema::Service>().getSealedLogin();
    if (box.size() == 0) continue;
    auto after = resealed(box, to);
    if (after.size() > 0) changes.push_back({id, kj::heapArray<kj::byte>(box), kj::mv(after)});
  }
  for (auto& change : changes) {
    Decide decide = [change = kj::mv(change)](View& view) {
      KJ_IF_MAYBE (service, view.service(change.id)) {
        if (service->getSealedLogin() == change.before.asPtr())
          keepLogin(view, change.id, change.after);
      }
    };
    co_await manager.submit(kj::mv(decide));
  }
}

Task<void> LoginSafe::reseal() {
  auto shared = members.isMember() ? sharedKey() : Key();
  if (shared.size() > 0) co_await resealAll(kj::mv(shared));
}

Task<void> LoginSafe::resealAlone() {
  co_await makeKey();
  co_await resealAll(kj::heapArray(key.asPtr()));
}

bool LoginSafe::open(kj::ArrayPtr<const kj::byte> sealed,
                     schema::RegistryLogin::Builder login) const {
  return openWith(sharedKey(), sealed, login) || openWith(key, sealed, login);
}

bool LoginSafe::openWith(const Key& key, kj::ArrayPtr<const kj::byte> sealed,
                         schema::RegistryLogin::Builder login) const {
  auto opened = unsealed(key, sealed);
  if (opened == nullptr) return false;
  auto& bytes = KJ_ASSERT_NONNULL(opened);
  KJ_DEFER(sodium_memzero(bytes.begin(), bytes.size()));
  auto plain = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(plain.begin(), bytes.begin(), plain.asBytes().size());
  capnp::FlatArrayMessageReader message(plain);
  auto found = message.getRoot<schema::RegistryLogin>();
  login.setRegistry(found.getRegistry());
  login.setUser(found.getUser());
  login.setPassword(found.getPassword());
  sodium_memzero(plain.begin(), plain.asBytes().size());
  return true;
}

bool LoginSafe::addTo(schema::Assignment::Builder assignment, const TaskReader& task,
                      const State& state) const {
  using schema::TaskState;
  bool unready =
      task.getDesired() <= TaskState::RUNNING && task.getStatus().getState() < TaskState::READY;
  auto service = state.find(Kind::SERVICE, view(task.getServiceId()));
  if (!unready || service == nullptr) return true;
  auto sealed = service->as<schema::Service>().getSealedLogin();
  return sealed.size() == 0 || open(sealed, assignment.initLogin());
}

}  // namespace orch::control::manager
