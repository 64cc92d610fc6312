// The JSON that etcd's gateway is asked with. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orch::etcd {

// The key behind all keys that begin with `prefix`.
std::string endOf(std::string_view prefix);

// A transaction: if all that is compared holds, what `then…` says, else what `else…` says; answers
// come in the order of the calls. A misspelt field would be ignored by etcd, and a transaction
// without conditions always succeeds: only here are its fields written.
class TxnRequest final {
 public:
  TxnRequest& ifValue(std::string_view key, std::string_view value);
  TxnRequest& ifMissing(std::string_view key);
  // The key's last change was in this revision; 0: it does not exist.
  TxnRequest& ifChangedAt(std::string_view key, uint64_t revision);
  TxnRequest& ifChangedAtLeast(std::string_view key, uint64_t revision);
  // The key exists and goes with this lease.
  TxnRequest& ifLeased(std::string_view key, uint64_t lease);
  // A key that goes with a lease is taken off it.
  TxnRequest& thenPut(std::string_view key, std::string_view value);
  TxnRequest& thenDelete(std::string_view key);
  TxnRequest& thenGet(std::string_view key);
  // Up to `limit` keys from `key` on, before `end`.
  TxnRequest& thenRange(std::string_view key, std::string_view end, uint64_t limit);
  // The key goes with the lease, and is taken off its former one.
  TxnRequest& elsePut(std::string_view key, std::string_view value, uint64_t lease);
  TxnRequest& elseGet(std::string_view key);
  // Without its value.
  TxnRequest& elseLook(std::string_view key);

  std::string text() const;

 private:
  std::string compares, thens, elses;
};

// Keys with values, at most `limit`, at one revision (0: now).
std::string rangeRequest(std::string_view key, std::string_view end, uint64_t limit,
                         uint64_t revision);
// The keys that were changed longest ago, at most `limit`, without values; and how many there are.
std::string oldestRequest(std::string_view key, std::string_view end, uint64_t limit);
// The key that was changed last, without its value; and how many there are. As long as both are as
// they were, nothing has changed.
std::string newestRequest(std::string_view key, std::string_view end);
// All changes of keys that begin with `prefix`, from `revision` on.
std::string watchRequest(std::string_view prefix, uint64_t revision);
std::string compactRequest(uint64_t revision);
// Who asks for a token.
std::string loginRequest(std::string_view user, std::string_view password);
std::string grantRequest(uint64_t seconds);
// To renew it, or to revoke it.
std::string leaseRequest(uint64_t lease);
// A member without a vote, that others reach at `url`.
std::string learnerRequest(std::string_view url);
// To remove it, or to give it a vote.
std::string memberRequest(uint64_t id);
std::string memberRequest(uint64_t id, std::string_view url);
// All alarms that are raised.
std::string alarmsRequest();
// Takes back that a member has no space.
std::string spaceRequest(uint64_t member);
// The leader gives this member what it is.
std::string transferRequest(uint64_t member);

}  // namespace orch::etcd
