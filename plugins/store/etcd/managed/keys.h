// Who may speak with a managed etcd: an authority of its own signs its members. etcd lets in
// whoever has a certificate of that authority, so nobody else gets one. Pure, but for chance.
#pragma once

#include <cstdint>
#include <string>

namespace orch::store::etcd {

// A new one, valid for ten years: its certificate and its key, PEM.
std::string newMembersAuthority(int64_t nowNs);

// PEM.
struct MemberKeys {
  std::string authority;
  std::string certificate;
  std::string key;
};
// Of one member, for its clients and for other members: both ask it at these names. Valid for a
// year. `host`: an address, IPv6 in brackets. `key`: the one of before; empty: a new one.
MemberKeys memberKeys(const std::string& authority, const std::string& name,
                      const std::string& host, const std::string& key, int64_t nowNs);

}  // namespace orch::store::etcd
