#include "serve/login-safe.h"

#include <capnp/serialize.h>
#include <kj/debug.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cstring>

#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::control::manager {

LoginSafe::LoginSafe(Env& env, Host& host)
    : env(env),
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

Task<kj::Array<kj::byte>> LoginSafe::seal(schema::RegistryLogin::Reader login) {
  capnp::MallocMessageBuilder message;
  message.setRoot(login);
  auto plain = capnp::messageToFlatArray(message);
  if (plain.asBytes().size() > MAX_BYTES) {
    fail(kj::str("usage: a login for a registry has at most ", MAX_BYTES, " bytes"));
  }
  auto alone = co_await making.enter();
  if (key.size() == 0) {
    auto make = [file = file]() {
      auto fresh = kj::heapArray<kj::byte>(crypto_secretbox_KEYBYTES);
      crypto_secretbox_keygen(fresh.begin());
      auto folder = file.substr(0, file.rfind('/'));
      if (mkdir(folder.c_str(), 0700) < 0 && errno != EEXIST) failFile("make", folder, errno);
      writeChecked(file, fresh);
      return fresh;
    };
    key = co_await env.workers().run(kj::mv(make));
  }
  auto sealed = kj::heapArray<kj::byte>(crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES +
                                        plain.asBytes().size());
  auto* box = sealed.begin() + crypto_secretbox_NONCEBYTES;
  randombytes_buf(sealed.begin(), crypto_secretbox_NONCEBYTES);
  crypto_secretbox_easy(box, plain.asBytes().begin(), plain.asBytes().size(), sealed.begin(),
                        key.begin());
  sodium_memzero(plain.begin(), plain.asBytes().size());
  co_return kj::mv(sealed);
}

bool LoginSafe::open(kj::ArrayPtr<const kj::byte> sealed,
                     schema::RegistryLogin::Builder login) const {
  constexpr size_t BESIDE = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
  if (key.size() == 0 || sealed.size() <= BESIDE) return false;
  size_t bytes = sealed.size() - BESIDE;
  auto plain = kj::heapArray<capnp::word>((bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word));
  auto* box = sealed.begin() + crypto_secretbox_NONCEBYTES;
  int opened = crypto_secretbox_open_easy(
      plain.asBytes().begin(), box, bytes + crypto_secretbox_MACBYTES, sealed.begin(), key.begin());
  if (opened != 0) return false;
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
