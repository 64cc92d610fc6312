// Logins for registries, as the state may keep them: encrypted (libsodium's secretbox), with a key
// in one file on the manager's disk, 0600, and nowhere else; or, as soon as others can join, with
// one that follows from the key of the cluster's authority, which all managers have and which is
// locked with them.
#pragma once

#include "member/membership.h"
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

  LoginSafe(Env& env, Host& host, Manager& manager, const Membership& members);
  KJ_DISALLOW_COPY(LoginSafe);

  // Reads the key, if there is one.
  Task<void> start();
  // Makes the key if there is none. Fails for a login that is too large, and if the key cannot be
  // written.
  Task<kj::Array<kj::byte>> seal(schema::RegistryLogin::Reader login);
  // Those of the state that are encrypted with the other key than `seal` takes now are encrypted
  // with that one; those that no key opens stay. Of whoever decides: when it begins to, and when
  // there is an authority.
  Task<void> reseal();
  // The same with the key of the file, before the authority's is gone.
  Task<void> resealAlone();
  // What a backup has to have: the key of the file; empty if there is none.
  kj::ArrayPtr<const kj::byte> ownKey() const { return key; }
  // From a backup, in the place of this one's.
  Task<void> takeKey(kj::Array<kj::byte> fresh);
  // False, and `login` stays empty, for what this key does not open.
  bool open(kj::ArrayPtr<const kj::byte> sealed, schema::RegistryLogin::Builder login) const;
  // That of its service, for a task that is yet to be made ready. False if there is one that this
  // key does not open.
  bool addTo(schema::Assignment::Builder assignment, const TaskReader& task,
             const State& state) const;

 private:
  using Key = kj::Array<kj::byte>;
  // Of the authority; empty if there is none.
  Key sharedKey() const;
  // Empty: with `to` it is already, or nothing opens it.
  Key resealed(kj::ArrayPtr<const kj::byte> box, const Key& to) const;
  Task<void> resealAll(Key to);
  Task<void> writeKey(Key fresh);
  Task<void> makeKey();
  bool openWith(const Key& key, kj::ArrayPtr<const kj::byte> sealed,
                schema::RegistryLogin::Builder login) const;

  Env& env;
  Manager& manager;
  const Membership& members;
  const std::string file;
  Key key;  // of the file; empty: there is none
  Semaphore making{1};
};

}  // namespace orch::control::manager
