// Backups of the cluster: made by any manager, and restored on a host that is in no cluster yet.
#pragma once

#include <kj/refcount.h>

#include "lead/leadership.h"
#include "orch/segments/backup-file.h"
#include "serve/login-safe.h"

namespace orch::control::manager {

class Backups final {
 public:
  using BackupContext = capnp::CallContext<schema::ClusterControl::BackupParams,
                                           schema::ClusterControl::BackupResults>;
  using RestoreContext = capnp::CallContext<schema::ClusterControl::RestoreParams,
                                            schema::ClusterControl::RestoreResults>;

  // All outlive it; what it hands out is kept alive by `owner`.
  Backups(kj::Refcounted& owner, Env& env, Host& host, Manager& manager, Leadership& leadership,
          Membership& members, LoginSafe& logins)
      : owner(owner),
        env(env),
        host(host),
        manager(manager),
        leadership(leadership),
        members(members),
        logins(logins) {}
  KJ_DISALLOW_COPY(Backups);

  Task<void> backup(BackupContext context);
  Task<void> restore(RestoreContext context);

 private:
  class Upload;
  struct Moment {
    uint64_t revision = 0;
    int64_t atNs = 0;
  };
  // All records, of one moment.
  Task<Moment> collect(std::vector<Record>& records);
  // What opens the secrets of that cluster. Fails if this manager cannot say.
  std::string authorityFor(schema::Cluster::Reader cluster) const;
  void addSecrets(segments::BackupWriter& writer, const std::string& authority,
                  bool& secrets) const;
  // Fails, with what to do, if a backup cannot be restored on this host.
  void checkRestore() const;

  kj::Refcounted& owner;
  Env& env;
  Host& host;
  Manager& manager;
  Leadership& leadership;
  Membership& members;
  LoginSafe& logins;
};

}  // namespace orch::control::manager
