// Logins for registries, as the state may keep them: encrypted (libsodium's secretbox), with a key
// in one file on the manager's disk, 0600, and nowhere else.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/agent.capnp.h"
#include "orch/semaphore.h"
#include "state/state.h"
#include "state/task-reader.h"

namespace orch::control::manager {

class LoginSafe final {
 public:
  static constexpr size_t MAX_BYTES = 16'384;  // of one login; registries' tokens have 2 to 4 KiB

  LoginSafe(Env& env, Host& host);
  KJ_DISALLOW_COPY(LoginSafe);

  // Reads the key, if there is one.
  Task<void> start();
  // Makes the key if there is none. Fails for a login that is too large, and if the key cannot be
  // written.
  Task<kj::Array<kj::byte>> seal(schema::RegistryLogin::Reader login);
  // False, and `login` stays empty, for what this key does not open.
  bool open(kj::ArrayPtr<const kj::byte> sealed, schema::RegistryLogin::Builder login) const;
  // That of its service, for a task that is yet to be made ready. False if there is one that this
  // key does not open.
  bool addTo(schema::Assignment::Builder assignment, const TaskReader& task,
             const State& state) const;

 private:
  Env& env;
  const std::string file;
  kj::Array<kj::byte> key;  // empty: there is none
  Semaphore making{1};
};

}  // namespace orch::control::manager
